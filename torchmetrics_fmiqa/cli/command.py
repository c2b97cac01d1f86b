"""What all commands have in common: help in which flags take no value and paragraphs flow; no empty arguments."""

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

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Parse them, if none is empty, which as a path would be the current folder.

        Raises:
            ValueError: for an empty argument, such as of a variable that is not set.
        """
        for before, one in zip(["", *args], args, strict=False):
            # `--out ""` or `--out=`; a suffix may be empty
            after = before if one == "" else one[:-1] if one.startswith("--") and one.endswith("=") else None
            if after is not None and after != "--suffix":
                where = f" after {after!r}" if after else ""
                raise ValueError(f"an argument{where} is empty: is a variable not set?")
        return super().parse_args(ctx, args)


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
