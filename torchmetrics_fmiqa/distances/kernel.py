"""Squared maximum mean discrepancy (MMD) between two sets of images, by a kernel of their features.

Gretton et al., "A kernel two-sample test", JMLR 13 (2012).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

#: The polynomial kernel of KID, and the Gaussian of CMMD.
KernelName = Literal["polynomial", "rbf"]

# Numbers of a part of the kernel's matrix that lives at once: 64 MB.
_AT_ONCE = 8_000_000


@dataclass(frozen=True)
class Kernel:
    """A kernel of two features.

    Args:
        name: ``"polynomial"``, ``(x · y / C + 1)³`` as in KID (Bińkowski et al., "Demystifying MMD GANs", ICLR 2018);
            or ``"rbf"``, ``exp(-|x - y|² / (2 sigma²))`` as in CMMD.
        sigma: width of the Gaussian, in the unit of the features.

    Raises:
        ValueError: for another name, or a width that is not positive.
    """

    name: KernelName = "polynomial"
    sigma: float = 10.0

    def __post_init__(self) -> None:
        if self.name not in get_args(KernelName):
            raise ValueError(f"`kernel` must be one of {', '.join(get_args(KernelName))}; got {self.name!r}")
        if not 0 < self.sigma < float("inf"):
            raise ValueError(f"`sigma` must be a positive number, got {self.sigma!r}")

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """The kernel of each feature ``(n, C)`` with each of ``(m, C)``: ``(n, m)``.

        >>> Kernel("rbf", sigma=1.0)(torch.zeros(1, 2), torch.tensor([[0.0, 0.0], [1.0, 1.0]])).log()
        tensor([[ 0., -1.]])
        """
        products = first @ second.T
        if self.name == "polynomial":
            return (products / first.shape[1] + 1) ** 3
        squares = first.square().sum(1)[:, None] + second.square().sum(1) - 2 * products
        return (squares.clamp_min(0) / (-2 * self.sigma**2)).exp()  # below 0 is rounding

    def of_equal(self, features: Tensor) -> Tensor:
        """The kernel of each feature ``(n, C)`` with itself, ``(n,)``."""
        if self.name == "polynomial":
            return (features.square().sum(1) / features.shape[1] + 1) ** 3
        return features.new_ones(len(features))


class KernelSums(NamedTuple):
    """Sums of a kernel over pairs of images, by the folds of both.

    Args:
        counts: ``(2, G)`` images of the two sets in each fold.
        first: ``(G, G)`` over pairs of different images of the first set.
        second: likewise.
        mixed: ``(G, G)`` over pairs of an image of each set.
        equal: ``(2, G)`` over pairs of an image with itself.
    """

    counts: Tensor
    first: Tensor
    second: Tensor
    mixed: Tensor
    equal: Tensor

    def mmd(self, unbiased: bool = True) -> Tensor:
        """Squared MMD of all images, 0-dim. The unbiased estimate may be below 0; see :func:`kernel_sums`."""
        totals = [self.first.sum(), self.second.sum(), self.mixed.sum()]
        return _mmd(self.counts.sum(1), totals, self.equal.sum(1), unbiased)

    def mmd_without(self, unbiased: bool = True) -> Tensor:
        """Squared MMD of all images but those of a fold, ``(G,)``."""
        totals = [
            matrix.sum() - matrix.sum(0) - matrix.sum(1) + matrix.diagonal()
            for matrix in (self.first, self.second, self.mixed)
        ]
        return _mmd(*(_others(self.counts), totals, _others(self.equal)), unbiased)


def _others(values: Tensor) -> Tensor:
    return values.sum(1, keepdim=True) - values


def _mmd(counts: Tensor, totals: list[Tensor], equal: Tensor, unbiased: bool) -> Tensor:
    (n, m), (first, second, mixed) = counts, totals
    if unbiased:
        own = first / (n * (n - 1)) + second / (m * (m - 1))
    else:
        own = (first + equal[0]) / n**2 + (second + equal[1]) / m**2
    found: Tensor = own - 2 * mixed / (n * m)
    return found


def kernel_sums(first: Tensor, second: Tensor, kernel: Kernel, folds: tuple[Tensor, Tensor], count: int) -> KernelSums:
    """Sum a kernel over all pairs of images, in float64; the matrix is never whole in memory.

    From these sums comes the unbiased estimate of Gretton et al. (2012), equation 3, or the biased one, equation 5,
    that counts each image with itself; and each of them without any fold.

    Args:
        first: features ``(N, C)``.
        second: features ``(M, C)``.
        kernel: the kernel.
        folds: ``(N,)`` and ``(M,)`` the fold of each image, from 0.
        count: number of folds.

    >>> sets = torch.zeros(2, 1), torch.ones(3, 1)
    >>> one_fold = tuple(torch.zeros(len(one), dtype=torch.long) for one in sets)
    >>> sums = kernel_sums(*sets, Kernel("polynomial"), one_fold, 1)
    >>> float(sums.mmd()), float(sums.mmd(unbiased=False))  # 1 + 2³ - 2
    (7.0, 7.0)
    """
    sides = [one.detach().to(torch.float32 if one.device.type == "mps" else torch.float64) for one in (first, second)]
    if kernel.name == "rbf":  # distances stay, and their squares keep their digits
        middle = torch.cat(sides).mean(0)
        sides = [one - middle for one in sides]
    members = [F.one_hot(one, count).to(side.dtype) for one, side in zip(folds, sides, strict=True)]
    equal = torch.stack([kernel.of_equal(side) @ own for side, own in zip(sides, members, strict=True)])

    def sums(one: int, other: int) -> Tensor:
        rows = max(1, _AT_ONCE // max(1, len(sides[other])))
        parts = zip(sides[one].split(rows), members[one].split(rows), strict=True)
        found = sides[one].new_zeros(count, count)
        for features, own in parts:
            found = found + own.T @ (kernel(features, sides[other]) @ members[other])
        return found

    own = [sums(side, side) - equal[side].diag() for side in range(2)]
    return KernelSums(torch.stack([one.sum(0) for one in members]), own[0], own[1], sums(0, 1), equal)
