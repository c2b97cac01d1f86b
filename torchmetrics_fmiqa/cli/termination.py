"""Signals that ask the process to end: all of them end a command as Ctrl+C does, so that what was done is kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: A batch system's time limit, `timeout` and `docker stop`; a terminal that is closed; Ctrl+C.
_NAMES = ("SIGTERM", "SIGHUP", "SIGINT")


class Termination:
    """Which signal asked the process to end.

    Args:
        signal: the first of them, ``None`` if there was none.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Interrupt the main thread. What comes while it saves is passed over, but for Ctrl+C."""
        if self.signal is None or number == signal.SIGINT:
            self.signal = self.signal or signal.Signals(number)
            raise KeyboardInterrupt


@contextmanager
def keyboard_interrupt_on_termination() -> Iterator[Termination]:
    """Let each of the signals raise a KeyboardInterrupt in the main thread, and tell which it was.

    A signal that is ignored (``nohup``) or handled already stays so.
    """
    termination = Termination()
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, termination)
    try:
        yield termination
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
