"""Make every termination signal end a command as Ctrl+C does, so that finished work is saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# SIGTERM is sent by batch systems, `timeout` and `docker stop`; SIGHUP by a closed terminal; SIGINT by Ctrl+C.
_NAMES = ("SIGTERM", "SIGHUP", "SIGINT")


class Termination:
    """A signal handler that remembers the first signal."""

    def __init__(self) -> None:
        #: The first signal, ``None`` if there was none.
        self.signal: signal.Signals | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Interrupt the main thread. While it saves, further signals are ignored, except Ctrl+C."""
        if self.signal is None or number == signal.SIGINT:
            self.signal = self.signal or signal.Signals(number)
            raise KeyboardInterrupt


@contextmanager
def keyboard_interrupt_on_termination() -> Iterator[Termination]:
    """Make termination signals raise a KeyboardInterrupt in the main thread; yield the signal's record.

    A signal that is already ignored (``nohup``) or handled keeps its handler.
    """
    termination = Termination()
    old_handlers = {}
    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                old_handlers[number] = signal.signal(number, termination)
    try:
        yield termination
    finally:
        for number, handler in old_handlers.items():
            signal.signal(number, handler)
