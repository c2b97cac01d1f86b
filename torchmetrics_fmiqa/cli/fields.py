"""Options of the form KEY=VALUE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def read_fields(option: str, items: Sequence[str] | None) -> dict[str, Any]:
    """The fields that a repeatable option names, their values as YAML has them.

    Args:
        option: what it is called, such as ``"--set"``.
        items: what it was given.

    Raises:
        ValueError: for what is no ``KEY=VALUE``, a key that comes twice, and YAML whose references unfold without end.

    >>> read_fields("--set", ["split=train", "types=[cnn, color]", "realigned=true"])
    {'split': 'train', 'types': ['cnn', 'color'], 'realigned': True}
    """
    from torchmetrics_fmiqa.yaml_text import NoYamlError, read_yaml

    fields: dict[str, Any] = {}
    for item in items or ():
        key, separator, text = item.partition("=")
        if not separator or not key:
            raise ValueError(f"`{option}` takes KEY=VALUE, got {item!r}")
        if key in fields:
            raise ValueError(f"`{option} {key}` is given twice")
        try:
            fields[key] = read_yaml(text, f"`{option} {key}`")
        except NoYamlError:
            fields[key] = text
    return fields
