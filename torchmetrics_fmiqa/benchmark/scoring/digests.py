"""What a data set's files hold, as digests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from torchmetrics_fmiqa.data.opening import file_digest
from torchmetrics_fmiqa.data.rated_csv import RatedPairs


def content_of(rated: RatedPairs) -> str:
    """Digest of a data set: the content of every file, and what was said of it."""
    digest = hashlib.sha256()
    known = digests(path for pair in rated.pairs for path in (pair.ref, pair.dist))
    for pair in rated.pairs:
        entry = (known[pair.ref], known[pair.dist], pair.dist.name, pair.opinion, pair.type, pair.level, pair.std)
        digest.update(repr(entry).encode())
    return digest.hexdigest()


def digests(paths: Iterable[Path]) -> dict[Path, str]:
    """Digests of the content of files, each read once; of one that cannot be opened, why, for scoring names it."""

    def digest(path: Path) -> str:
        try:
            return file_digest(path)
        except ValueError as error:
            return str(error)

    return {path: digest(path) for path in dict.fromkeys(paths)}
