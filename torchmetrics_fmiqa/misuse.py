"""Warn at the line of the user's call: :func:`warn_user`, and :class:`WarnOnce` for misuse that is not an error."""

from __future__ import annotations

import sys
import warnings

import torch

# Packages whose frames are not the user's code.
_INSIDE = ("torchmetrics_fmiqa.", "torchmetrics.", "torch.", "lightning.", "pytorch_lightning.")


class WarnOnce:
    """Warns of each kind of misuse once. In compiled code it does nothing, because that cannot warn.

    >>> warn = WarnOnce()
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn("order", "the arguments are swapped")
    ...     warn("order", "the arguments are swapped")
    >>> len(caught), warn.has_warned("order")
    (1, True)
    """

    def __init__(self) -> None:
        self._kinds: set[str] = set()

    def has_warned(self, kind: str) -> bool:
        """Whether this kind has been warned of, so that its check can be skipped."""
        return kind in self._kinds

    def __call__(self, kind: str, message: str) -> None:
        """Give a ``UserWarning`` at the line of the user's call, the first time for this kind."""
        if torch.compiler.is_compiling() or kind in self._kinds:
            return
        self._kinds.add(kind)
        warn_user(message)


def warn_user(message: str) -> None:
    """Give a ``UserWarning`` at the line of the nearest caller outside this package and its frameworks."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and f"{frame.f_globals.get('__name__', '')}.".startswith(_INSIDE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)
