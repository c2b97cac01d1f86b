"""Where golden images of tests are, and what to do with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Settings:
    """Where golden images are, and what to do with them; the pytest plugin fills it from its options.

    Args:
        folder: of the golden results.
        record: record what is given instead of checking it.
        report: folder for the pictures of what fails; ``None`` for none.
        recorded: folders and names that were recorded in this run: a second image of one of them is checked.
    """

    folder: Path = Path("tests/golden")
    record: bool = False
    report: Path | None = None
    recorded: set[tuple[Path, str]] = field(default_factory=set)


#: What holds where a call says nothing else.
SETTINGS = Settings()
