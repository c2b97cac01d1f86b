"""YAML from strangers: plain data, no references that unfold to gigabytes, no key twice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

# More values than any recipe, table of metrics or list of options holds.
_MOST = 10_000
# YAML 1.1, which PyYAML reads, takes a number without a point or a sign of its exponent for a word: 1e-05 of Python.
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")


class NoYamlError(ValueError):
    """A text is no YAML at all."""


def read_yaml(text: str, name: str) -> Any:
    """Return what a YAML text holds: numbers, strings, lists and dicts.

    Args:
        text: the text.
        name: what it is, for the message.

    Raises:
        NoYamlError: if it is none.
        ValueError: if its references (``*alias``) unfold to more than 10,000 values or to themselves, or a key comes
            twice.

    >>> read_yaml("taps: [0, norm]", "the recipe")
    {'taps': [0, 'norm']}
    >>> read_yaml("1e-3", "the weight")
    0.001
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def __init__(self, stream: Any) -> None:
            super().__init__(stream)
            self.values, self.held = 0, dict[str, int]()

        def compose_node(self, parent: Any, index: Any) -> Any:
            anchor, before = getattr(self.peek_event(), "anchor", None), self.values
            if anchor is not None and self.check_event(yaml.AliasEvent) and anchor in self.anchors:
                if anchor not in self.held:
                    raise ValueError(f"{name} refers to itself, *{anchor[:40]}: write out what is meant")
                self.values += self.held[anchor]
                if self.values > _MOST:
                    raise ValueError(f"{name} unfolds to more than {_MOST} values by *{anchor[:40]}: write it out")
                return super().compose_node(parent, index)
            self.values += 1
            node = super().compose_node(parent, index)
            if anchor is not None:
                self.held[anchor] = self.values - before
            return node

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [key.value for key, _ in node.value if isinstance(key.value, str)]
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice is not None:
                raise ValueError(f"{name} has the key {twice[:80]!r} twice: leave out one of them")
            return super().construct_mapping(node, deep)

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise NoYamlError(f"{name} is no YAML: {' '.join(str(error).split())[:400]}") from None
    except RecursionError:
        raise NoYamlError(f"{name} is no YAML that can be read: it is nested too deeply") from None


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
