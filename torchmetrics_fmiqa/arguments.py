"""Check numbers and truth values of users, and shorten values for messages."""

from __future__ import annotations

import operator
import reprlib
from typing import Any

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 120


def short_repr(value: Any) -> str:
    """The ``repr`` of a value for a message, shortened if it is long or deep.

    >>> short_repr([1, 2]), len(short_repr("x" * 10**6)), short_repr(list(range(9)))
    ('[1, 2]', 120, '[0, 1, 2, 3, 4, 5, ...]')
    """
    return _SHORT.repr(value)


def whole_number(value: Any, name: str, least: int, what: str = "a whole number") -> int:
    """Return an integer of Python, NumPy or a 0-dim tensor as an ``int``.

    Args:
        value: value of the argument.
        name: name of the argument, for the message.
        least: smallest valid value.
        what: description of valid values, for the message.

    Raises:
        ValueError: if the value is not an integer (``True`` and 2.0 are not), or less than ``least``.

    >>> import numpy as np
    >>> whole_number(np.int64(3), "tile_batch", 1)
    3
    """
    try:
        number = None if _is_bool(value) else operator.index(value)
    except (TypeError, ValueError, RuntimeError):  # a tensor of several numbers, or of floats
        number = None
    if number is None or number < least:
        raise ValueError(f"`{name}` must be {what} of at least {least}, got {short_repr(value)}")
    return number


def as_bool(value: Any, name: str) -> bool:
    """Return a truth value of Python, NumPy or a 0-dim tensor as a ``bool``.

    Raises:
        ValueError: for any other value.
    """
    if not _is_bool(value):
        raise ValueError(f"`{name}` must be true or false, got {short_repr(value)}")
    return bool(value)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool) or (getattr(value, "shape", None) == () and str(value.dtype).endswith("bool"))


def as_python(value: Any) -> Any:
    """Convert a NumPy array or scalar, or a tensor, to Python numbers and lists; leave other values as they are."""
    if type(value) in (int, float):  # the usual case; hasattr on a symbolic number fails in torch.compile
        return value
    return value.tolist() if hasattr(value, "tolist") and hasattr(value, "shape") else value
