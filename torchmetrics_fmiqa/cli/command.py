"""What the help of a command looks like: flags take no value, and paragraphs flow."""

from __future__ import annotations

import inspect
from typing import Any

from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """A command with plain help."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.help = _flowing(self.help)

    def get_params(self, ctx: Any) -> Any:
        """The parameters, flags without the word for their type."""
        return _plain_flags(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands with plain help."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters, flags without the word for their type."""
        return _plain_flags(super().get_params(ctx))


def _flowing(text: str | None) -> str:
    """Paragraphs without the line breaks of the source."""
    return "\n\n".join(" ".join(one.split()) for one in inspect.cleandoc(text or "").split("\n\n"))


def _plain_flags(params: Any) -> Any:
    for param in params:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
    return params
