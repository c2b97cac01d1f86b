"""YAML from strangers: plain data, no references that unfold to gigabytes, no key twice."""

from __future__ import annotations

from typing import Any


class NoYamlError(ValueError):
    """A text is no YAML at all."""


def read_yaml(text: str, name: str) -> Any:
    """Return what a YAML text holds: numbers, strings, lists and dicts.

    Args:
        text: the text.
        name: what it is, for the message.

    Raises:
        NoYamlError: if it is none.
        ValueError: if it refers to a part of itself (``*alias``), or holds a key twice.

    >>> read_yaml("taps: [0, norm]", "the recipe")
    {'taps': [0, 'norm']}
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent) and self.peek_event().anchor in self.anchors:
                raise ValueError(f"{name} refers to a part of itself, *{self.peek_event().anchor[:40]}: write it out")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [key.value for key, _ in node.value if isinstance(key.value, str)]
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice is not None:
                raise ValueError(f"{name} has the key {twice[:80]!r} twice: leave out one of them")
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise NoYamlError(f"{name} is no YAML: {' '.join(str(error).split())[:400]}") from None
    except RecursionError:
        raise NoYamlError(f"{name} is no YAML that can be read: it is nested too deeply") from None
