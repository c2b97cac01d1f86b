"""Base classes of all commands: help with flowing paragraphs and flags without a type; no empty arguments."""

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
        """The parameters; the help of flags shows no type."""
        return _plain_flags(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Parse the arguments, after a check that none is empty: an empty path would mean the current folder.

        Raises:
            ValueError: for an empty argument, such as a shell variable that is not set.
        """
        for previous, arg in zip(["", *args], args, strict=False):
            # The option of `--out ""` or `--out=`; only a suffix may be empty.
            option = previous if arg == "" else arg[:-1] if arg.startswith("--") and arg.endswith("=") else None
            if option is not None and option != "--suffix":
                where = f" after {option!r}" if option else ""
                raise ValueError(f"an argument{where} is empty: is a variable not set?")
        return super().parse_args(ctx, args)


class Group(TyperGroup):
    """A group of commands with plain help."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters; the help of flags shows no type."""
        return _plain_flags(super().get_params(ctx))


def _flowing(text: str | None) -> str:
    """The paragraphs of a docstring, each on a single line."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text or "").split("\n\n"))


def _plain_flags(params: Any) -> Any:
    for param in params:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
    return params
