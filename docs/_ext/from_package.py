"""Parts of pages that are written from the package itself: the named recipes, and the options of a command.

```{named-recipes}
```
```{fmiqa-command} score
```
"""

from __future__ import annotations

from typing import Any

import typer
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from torchmetrics_fmiqa import RECIPES
from torchmetrics_fmiqa.cli import app as command_line


class NamedRecipes(SphinxDirective):
    """A table of the named recipes."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        rows = ["| name | network | licence of the weights | download | distance |", "|---|---|---|---|---|"]
        for name, entry in RECIPES.items():
            download = "none" if entry.recipe.backbone == "fmiqa/embedded" else f"{entry.megabytes:.0f} MB"
            distance = ", ".join(entry.recipe.results)
            rows.append(f"| `{name}` | {entry.note} | {entry.licence} | {download} | {distance} |")
        return self.parse_text_to_nodes("\n".join(rows))


class FmiqaCommand(SphinxDirective):
    """What `fmiqa COMMAND --help` says: usage, then each option with its default."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the paragraphs and the list of options."""
        group = typer.main.get_command(command_line)
        command = group.commands[self.arguments[0]]  # type: ignore[attr-defined]
        context = command.make_context("fmiqa", [], resilient_parsing=True)
        arguments = [one.make_metavar(context) for one in command.params if one.param_type_name == "argument"]
        usage = " ".join(["fmiqa", self.arguments[0], *arguments, "[OPTIONS]"])
        lines = ["```bash", usage, "```", "", str(command.help), ""]
        for one in command.params:
            if one.name != "help":
                lines += [f"`{_name(one, context)}`", f": {_words(one)}", ""]
        return self.parse_text_to_nodes("\n".join(lines))


def _name(one: Any, context: Any) -> str:
    if one.param_type_name == "argument":
        return str(one.make_metavar(context))
    value = "" if one.is_flag else f" {one.make_metavar(context)}"
    return ", ".join(one.opts + one.secondary_opts) + value


def _words(one: Any) -> str:
    text = " ".join((one.help or "").split())
    shown = one.default is not None and one.default is not False and one.default != [] and not callable(one.default)
    return f"{text} *Default: `{one.default}`.*" if shown and one.default != () else text


def setup(app: Sphinx) -> dict[str, bool]:
    """Give the two directives to Sphinx."""
    app.add_directive("named-recipes", NamedRecipes)
    app.add_directive("fmiqa-command", FmiqaCommand)
    return {"parallel_read_safe": True}
