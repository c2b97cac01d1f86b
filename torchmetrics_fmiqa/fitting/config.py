"""How a SPIPS head is trained."""

from __future__ import annotations

from dataclasses import dataclass

from torchmetrics_fmiqa.spips_model.model import PARTS, check_parts


@dataclass(frozen=True)
class SpipsTraining:
    """How a SPIPS head is trained.

    Args:
        parts: which of :data:`~torchmetrics_fmiqa.spips_model.model.PARTS` are used.
        hidden: widths of the fusion's hidden layers.
        linear: no hidden layer, for the ablation.
        gated: whether the gate is learned; else it stays at 1/2, where it does nothing, for the ablation.
        epochs: at most.
        patience: epochs without a better inner validation, after which training stops.
        batch: images in a step; fewer if an epoch would have less than 8 steps, but at least 8.
        learning_rate: of AdamW.
        weight_decay: of AdamW, towards a network that says nothing and equal weights of taps.
        gate_decay: likewise for the gate. It has a weight for each channel of the backbone, and few references to learn
            them from. On made-up data of 25 references, 0.01 cost .027 of SRCC on unseen ones where there was nothing
            to learn for a gate, 3 cost .006; where there was, both gained .009.
        balance: repeat the smaller sets, so that all have as many steps in an epoch. By default an epoch sees each
            image once, and a set counts by its steps. Worth a try where few opinions meet many ranks: on made-up data,
            58 opinions beside 4800 ranks, it took the SRCC of unseen references from .957 to .968 (means of 4 seeds),
            for twice the steps an epoch.
        seed: of the initial weights, the folds, the batches and the inner validation.

    Raises:
        ValueError: for parts that do not exist, values below 1 (hidden, epochs, patience), 2 (batch) or 0, or a
            learning rate of 0.
    """

    parts: tuple[str, ...] = PARTS
    hidden: tuple[int, ...] = (32, 16)
    linear: bool = False
    gated: bool = True
    epochs: int = 80
    patience: int = 20
    batch: int = 64
    learning_rate: float = 0.01
    weight_decay: float = 0.01
    gate_decay: float = 3.0
    balance: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", check_parts(self.parts))
        least = {"epochs": 1, "patience": 1, "batch": 2, "weight_decay": 0, "gate_decay": 0, "seed": 0}
        for name, lowest in least.items():
            if not getattr(self, name) >= lowest:
                raise ValueError(f"`{name}` must be at least {lowest}, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"`learning_rate` must be above 0, got {self.learning_rate}")
        if any(width < 1 for width in self.hidden):
            raise ValueError(f"`hidden` must be widths of at least 1, got {self.hidden}")
