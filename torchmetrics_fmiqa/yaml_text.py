"""Read untrusted YAML: plain data only, no aliases that expand to gigabytes, no repeated keys."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

# More values than any recipe, table of metrics or list of options has.
_MAX_VALUES = 10_000
# PyYAML reads YAML 1.1, where a number needs a point and a signed exponent: Python's 1e-05 would be a string.
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")


class NoYamlError(ValueError):
    """A text is not YAML."""


def read_yaml(text: str, name: str) -> Any:
    """Return the content of a YAML text: numbers, strings, lists and dicts.

    Args:
        text: the text.
        name: name of the text for messages.

    Raises:
        NoYamlError: if the text is not YAML.
        ValueError: if its aliases expand to more than 10,000 values or to themselves, or a key is repeated.

    >>> read_yaml("taps: [0, norm]", "the recipe")
    {'taps': [0, 'norm']}
    >>> read_yaml("1e-3", "the weight")
    0.001
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def __init__(self, stream: Any) -> None:
            super().__init__(stream)
            self.value_count, self.anchored_counts = 0, dict[str, int]()

        def compose_node(self, parent: Any, index: Any) -> Any:
            anchor, count_before = getattr(self.peek_event(), "anchor", None), self.value_count
            if anchor is not None and self.check_event(yaml.AliasEvent) and anchor in self.anchors:
                if anchor not in self.anchored_counts:
                    raise ValueError(f"{name} refers to itself, *{anchor[:40]}: write out what is meant")
                self.value_count += self.anchored_counts[anchor]
                if self.value_count > _MAX_VALUES:
                    raise ValueError(
                        f"{name} unfolds to more than {_MAX_VALUES} values by *{anchor[:40]}: write it out"
                    )
                return super().compose_node(parent, index)
            self.value_count += 1
            node = super().compose_node(parent, index)
            if anchor is not None:
                self.anchored_counts[anchor] = self.value_count - count_before
            return node

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [key.value for key, _ in node.value if isinstance(key.value, str)]
            repeated = next((key for key in keys if keys.count(key) > 1), None)
            if repeated is not None:
                raise ValueError(f"{name} has the key {repeated[:80]!r} twice: leave out one of them")
            return super().construct_mapping(node, deep)

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise NoYamlError(f"{name} is no YAML: {' '.join(str(error).split())[:400]}") from None
    except RecursionError:
        raise NoYamlError(f"{name} is no YAML that can be read: it is nested too deeply") from None


def read_fields(option: str, items: Sequence[str] | None) -> dict[str, Any]:
    """Parse the ``KEY=VALUE`` items of a repeatable option, with values as YAML.

    Args:
        option: name of the option, such as ``"--set"``.
        items: its values.

    Raises:
        ValueError: for an item that is not ``KEY=VALUE``, a repeated key, and the errors of :func:`read_yaml`.

    >>> read_fields("--set", ["split=train", "types=[cnn, color]", "realigned=true"])
    {'split': 'train', 'types': ['cnn', 'color'], 'realigned': True}
    """
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
