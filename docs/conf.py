"""How the documentation is built: `make docs` writes docs/_build/html."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import torchmetrics_fmiqa

project = "torchmetrics_fmiqa"
author = "The torchmetrics_fmiqa authors"
copyright = f"{author}, Apache-2.0"
release = version = torchmetrics_fmiqa.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "from_package",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_templates", "_static"]
templates_path = ["_templates"]

myst_enable_extensions = ["deflist", "fieldlist"]
myst_heading_anchors = 4

autodoc_typehints = "none"  # the signature has them, and each argument's default
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autosummary_generate = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_maximum_signature_line_length = 60
add_module_names = False
smartquotes = False  # of `--option` they make a dash

html_theme = "furo"
html_title = f"torchmetrics_fmiqa {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
pygments_style = "friendly"
pygments_dark_style = "monokai"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Hooks that Lightning and torch call, not people.
_CALLED_BY_FRAMEWORKS = {"setup", "teardown", "state_key", "state_dict", "load_state_dict", "extra_repr", "scores_of"}


def _leave_out(app: object, what: str, name: str, item: object, skip: bool, options: object) -> bool:
    return skip or name.startswith("on_") or name in _CALLED_BY_FRAMEWORKS


def setup(app: object) -> None:
    """Leave out what only frameworks call."""
    app.connect("autodoc-skip-member", _leave_out)  # type: ignore[attr-defined]
