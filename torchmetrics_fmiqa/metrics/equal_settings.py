"""Check that metrics have equal settings before their states are joined, over ranks or in a merge."""

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
    """Check that all owners have equal settings.

    Args:
        settings: owner -> settings.
        fix: advice for the message.

    Raises:
        ValueError: naming the settings that differ between the first two owners that do.
    """
    owners_by_text: dict[str, list[str]] = {}
    for owner, owned in settings.items():
        owners_by_text.setdefault(_text(owned), []).append(owner)
    if len(owners_by_text) < 2:
        return
    (first, ours), (second, theirs) = [(", ".join(names), json.loads(text)) for text, names in owners_by_text.items()][
        :2
    ]
    values = ((name, _value(ours, name), _value(theirs, name)) for name in {**ours, **theirs})
    differences = {name: f"{name} is {a} on {first} and {b} on {second}" for name, a, b in values if a != b}
    if "metric" in differences:  # the other differences follow from it
        differences = {"metric": differences["metric"]}
    raise ValueError(f"metrics that measure differently cannot be joined: {'; '.join(differences.values())}. {fix}")


def check_equal_on_all_ranks(settings: Settings, gather: Callable[[Tensor], Sequence[Tensor]], device: Any) -> None:
    """Check that all ranks have equal settings. Every rank must call this, and every rank raises.

    It gathers a single number. Only if the settings differ it gathers their text too, for the message.

    Args:
        settings: settings of this rank.
        gather: callable that returns the tensors of all ranks.
        device: device of the tensors.

    Raises:
        ValueError: naming the settings that differ, and the ranks.
    """
    text = _text(settings).encode()
    number = int.from_bytes(hashlib.sha256(text).digest()[:8], "big", signed=True)
    numbers = [int(value) for value in gather(torch.tensor(number, device=device))]
    if len(set(numbers)) < 2:
        return
    texts = gather(torch.tensor(list(text), dtype=torch.uint8, device=device))
    by_rank = {f"rank {rank}": json.loads(bytes(codes.tolist())) for rank, codes in enumerate(texts)}
    check_equal_settings(by_rank, "Build the same metric on every rank.")


def _text(settings: Settings) -> str:
    return json.dumps(settings, sort_keys=True, default=str)


def _value(settings: Settings, name: str) -> str:
    return repr(settings[name]) if name in settings else "missing"
