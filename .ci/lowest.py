"""Print constraints for pip that hold every dependency in pyproject.toml at its lowest version: `NAME==VERSION`."""

from __future__ import annotations

import re
from pathlib import Path

import tomllib

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]


def main() -> None:
    """Print one line a dependency; one without a lower bound is an error."""
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for requirement in dict.fromkeys(one for group in groups for one in group):
        if requirement.startswith(f"{PROJECT['name']}["):
            continue
        found = re.fullmatch(r"([\w.-]+)(?:\[[\w,-]+\])?>=([\w.]+)", requirement)
        if found is None:
            raise SystemExit(f"{requirement!r} in pyproject.toml has no lower bound: write NAME>=VERSION")
        print(f"{found[1]}=={found[2]}")


if __name__ == "__main__":
    main()
