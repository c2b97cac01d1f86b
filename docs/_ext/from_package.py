"""Parts of pages that are written from the package itself: ``{named-recipes}`` and ``{fmiqa-command} NAME``.

Cells of tables that hold numbers alone get the class ``number``, so that no interval breaks into two lines.
"""

from __future__ import annotations

import inspect
import re
from typing import Any, get_type_hints

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from typer.models import ArgumentInfo

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
    final_argument_whitespace = True  # of "gate record"

    def run(self) -> list[nodes.Node]:
        """Return the paragraphs and the list of options."""
        name = self.arguments[0]
        *groups, last = name.split()
        commands = command_line
        for group in groups:
            (commands,) = (one.typer_instance for one in commands.registered_groups if one.name == group)
        (function,) = (one.callback for one in commands.registered_commands if one.name == last)
        hints = get_type_hints(function, include_extras=True)
        params = inspect.signature(function).parameters.values()
        # typer's own context has nothing to tell
        given = [(one, hints[one.name].__metadata__[0]) for one in params if hasattr(hints[one.name], "__metadata__")]
        arguments = [f"[{one.name.upper()}]" for one, info in given if isinstance(info, ArgumentInfo)]
        usage = " ".join(["fmiqa", name, *arguments, "[OPTIONS]"])
        lines = ["```bash", usage, "```", "", inspect.getdoc(function) or "", ""]
        for one, info in given:
            lines += [f"`{_name(one, info, hints[one.name])}`", f": {_words(one, info)}", ""]
        return self.parse_text_to_nodes("\n".join(lines))


def _name(one: inspect.Parameter, info: Any, hint: Any) -> str:
    if isinstance(info, ArgumentInfo):
        return one.name.upper()
    # The first name that an option is given stands where its default would.
    names = [name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str)]
    written = ", ".join(names) or f"--{one.name.replace('_', '-')}"
    if hint.__origin__ is bool:
        return written
    known = {"int": "N", "float": "X", "Path": "PATH"}
    kind = next((value for word, value in known.items() if word in str(hint.__origin__)), "TEXT")
    return f"{written} {info.metavar or kind}"


def _words(one: inspect.Parameter, info: Any) -> str:
    text = " ".join((info.help or "").split())
    plain = isinstance(one.default, (str, int, float)) and not isinstance(one.default, bool) and one.default != ""
    return f"{text} *Default: `{one.default}`.*" if plain else text


def mark_numbers(app: Sphinx, document: nodes.document) -> None:
    """Give cells without a word, such as ``.921 (.945)`` or ``+.003 [-.001, .006]``, the class ``number``."""
    for cell in document.findall(nodes.entry):
        text = cell.astext()
        if re.search(r"\d", text) and len(text) <= 40 and not re.search(r"[^\W\d_]{2}", text):
            cell["classes"].append("number")


def setup(app: Sphinx) -> dict[str, bool]:
    """Give the directives, and the hook for numbers, to Sphinx."""
    app.add_directive("named-recipes", NamedRecipes)
    app.add_directive("fmiqa-command", FmiqaCommand)
    app.connect("doctree-read", mark_numbers)
    return {"parallel_read_safe": True}
