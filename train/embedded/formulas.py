"""Published formulas of full-reference quality, and what they say together: labels that know what an image hides.

How much a blur spoils an image depends on the image: on an even one nobody sees it. Severities do not know that, and
formulas do. Each has faults of its own; the mean of their ranks has fewer (Ye, Kumar and Doermann, "Beyond human
opinion scores", CVPR 2014). None holds a trained network; a few have constants that their authors chose with human
scores at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from train.embedded.pyramid import nlpd

#: ``(preds, target)``, both ``(N, 3, H, W)`` in [0, 1], to how different they are, ``(N,)``: 0 for equal ones.
Formula = Callable[[Tensor, Tensor], Tensor]


def _halved(image: Tensor) -> Tensor:
    # These formulas shrink an image to about 256 pixels before they look. Crops are parts of images twice that size.
    return F.avg_pool2d(image, 2)


def _fsim(preds: Tensor, target: Tensor) -> Tensor:
    from piq import fsim

    return 1 - torch.as_tensor(fsim(_halved(preds), _halved(target), reduction="none"))


def _ms_gmsd(preds: Tensor, target: Tensor) -> Tensor:
    from piq import multi_scale_gmsd

    return torch.as_tensor(multi_scale_gmsd(preds, target, chromatic=True, reduction="none"))


def _vif(preds: Tensor, target: Tensor) -> Tensor:
    from piq import vif_p

    return 1 - torch.as_tensor(vif_p(preds, target, reduction="none"))


def _dss(preds: Tensor, target: Tensor) -> Tensor:
    from piq import dss

    return 1 - torch.as_tensor(dss(preds, target, reduction="none"))


def _mdsi(preds: Tensor, target: Tensor) -> Tensor:
    from piq import mdsi

    return torch.as_tensor(mdsi(_halved(preds), _halved(target), reduction="none"))


#: The formulas by name.
FORMULAS: Mapping[str, Formula] = {
    "fsim": _fsim,
    "ms_gmsd": _ms_gmsd,
    "vif": _vif,
    "dss": _dss,
    "mdsi": _mdsi,
    "nlpd": nlpd,
}


@torch.no_grad()
def verdicts(preds: Tensor, target: Tensor) -> Tensor:
    """What each formula says of pairs ``(N, 3, H, W)``: ``(N, len(FORMULAS))``, higher is worse.

    Raises:
        ValueError: if a formula fails on a pair, with its name.
    """
    columns = []
    for name, formula in FORMULAS.items():
        values = formula(preds, target)
        if not bool(values.isfinite().all()):
            raise ValueError(f"`{name}` gives no number for pair {int((~values.isfinite()).nonzero()[0])}")
        columns.append(values)
    return torch.stack(columns, 1)


def fused(columns: Tensor) -> Tensor:
    """One label for each pair from the verdicts ``(N, K)`` on many: the mean of its ranks, from 0 to 1, ``(N,)``."""
    from scipy.stats import rankdata

    ranks = torch.from_numpy(rankdata(columns.numpy(), axis=0)) - 1
    return (ranks / max(1, len(columns) - 1)).mean(1).float()
