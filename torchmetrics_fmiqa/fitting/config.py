"""How a head is trained."""

from __future__ import annotations

from dataclasses import dataclass

from torchmetrics_fmiqa.spips_model.model import PARTS, check_parts

_LEAST = {"epochs": 1, "patience": 1, "batch": 2, "weight_decay": 0, "gate_decay": 0, "seed": 0}


@dataclass(frozen=True)
class HeadTraining:
    """How a head is trained. The defaults were chosen by inner validation on TID2013, never on held-out references.

    Raises:
        ValueError: for values below 1 (hidden, epochs, patience), 2 (batch) or 0, or a learning rate of 0.
    """

    hidden: tuple[int, ...] = (32, 16)  #: widths of the hidden layers.
    linear: bool = False  #: no hidden layer, for the ablation.
    epochs: int = 80  #: at most.
    patience: int = 20  #: epochs without a better inner validation, after which training stops.
    batch: int = 64  #: images in a step; fewer if an epoch would have less than 8 steps, but at least 8.
    learning_rate: float = 0.01  #: of AdamW.
    weight_decay: float = 0.01  #: of AdamW, towards a network that says nothing and equal weights of taps.
    seed: int = 0  #: of the initial weights, the folds, the batches and the inner validation.

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name, least)
            if not value >= least:
                raise ValueError(f"`{name}` must be at least {least}, got {value}")
        if not self.learning_rate > 0:
            raise ValueError(f"`learning_rate` must be above 0, got {self.learning_rate}")
        if any(width < 1 for width in self.hidden):
            raise ValueError(f"`hidden` must be widths of at least 1, got {self.hidden}")


@dataclass(frozen=True)
class SpipsTraining(HeadTraining):
    """How a SPIPS head is trained: :class:`HeadTraining`, and what only such a head has.

    Raises:
        ValueError: as :class:`HeadTraining`, and for parts that do not exist.
    """

    parts: tuple[str, ...] = PARTS  #: which of :data:`~torchmetrics_fmiqa.spips_model.model.PARTS` are used.
    gated: bool = True  #: whether the gate is learned; else it stays at 1/2, where it does nothing, for the ablation.
    #: weight decay of the gate. It has a weight for each channel of the backbone, and few references to learn from. On
    #: made-up data of 25 references, 0.01 cost .027 of SRCC on unseen ones where there was nothing to learn for a gate,
    #: 3 cost .006; where there was, both gained .009.
    gate_decay: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "parts", check_parts(self.parts))
