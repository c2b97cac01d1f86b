"""States are joined only where the settings that fix their numbers are equal: over ranks, and when metrics merge."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

#: Settings by name, as plain values.
Settings = Mapping[str, Any]


def check_equal_settings(settings: Mapping[str, Settings], fix: str) -> None:
    """Check that all have one set of settings.

    Args:
        settings: the settings by whose they are.
        fix: what to do about it, for the message.

    Raises:
        ValueError: naming the first that differ, and where.
    """
    owners: dict[str, list[str]] = {}
    for owner, one in settings.items():
        owners.setdefault(_text(one), []).append(owner)
    if len(owners) < 2:
        return
    (first, one), (second, other) = [(", ".join(names), json.loads(text)) for text, names in owners.items()][:2]
    shown = ((name, _value(one, name), _value(other, name)) for name in {**one, **other})
    differences = {name: f"{name} is {a} on {first} and {b} on {second}" for name, a, b in shown if a != b}
    if "metric" in differences:  # all else differs because of that
        differences = {"metric": differences["metric"]}
    raise ValueError(f"metrics that measure differently cannot be joined: {'; '.join(differences.values())}. {fix}")


def check_equal_on_all_ranks(settings: Settings, gather: Callable[[Tensor], Sequence[Tensor]], device: Any) -> None:
    """Check that all ranks have equal settings. Every rank must call it, and every rank raises.

    Costs one gather of a single number; only where the settings differ a second one, for the message.

    Args:
        settings: this rank's.
        gather: gives the tensors of all ranks.
        device: where the tensors live.

    Raises:
        ValueError: naming the first that differ, and the ranks.
    """
    text = _text(settings).encode()
    number = int.from_bytes(hashlib.sha256(text).digest()[:8], "big", signed=True)
    numbers = [int(one) for one in gather(torch.tensor(number, device=device))]
    if len(set(numbers)) < 2:
        return
    texts = gather(torch.tensor(list(text), dtype=torch.uint8, device=device))
    found = {f"rank {rank}": json.loads(bytes(one.tolist())) for rank, one in enumerate(texts)}
    check_equal_settings(found, "Build the same metric on every rank.")


def _text(settings: Settings) -> str:
    return json.dumps(settings, sort_keys=True, default=str)


def _value(settings: Settings, name: str) -> str:
    return repr(settings[name]) if name in settings else "missing"
