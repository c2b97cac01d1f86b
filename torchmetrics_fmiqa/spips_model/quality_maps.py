"""The conventional half of SPIPS: PSNR, SSIM and MS-SSIM as maps, where 0 is equal and 1 the worst.

SSIM and MS-SSIM share one pyramid of Gaussian moments. It is taken of the sum and the difference of the two images,
since a variance of the difference over a variance of the sum is the *dis*similarity itself: exactly 0 for equal images
and precise near them, where one minus a similarity has lost its digits.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from torchmetrics_fmiqa.comparator.forward_pass import full_precision
from torchmetrics_fmiqa.comparator.pooling import POOLED, pool_map
from torchmetrics_fmiqa.features.image_checks import LUMA, DataRange, check_pair, check_values, to_unit
from torchmetrics_fmiqa.features.tiles import mirror_index
from torchmetrics_fmiqa.features.transforms import channels_last
from torchmetrics_fmiqa.misuse import WarnOnce

#: The maps that :func:`quality_maps` gives, in its order.
QUALITY_MAPS = ("psnr", "ssim", "ms_ssim")

#: Weights of the scales of MS-SSIM, finest first (Wang, Simoncelli and Bovik, Asilomar 2003).
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2

# Added to the squared error, so that the map ends at 60 dB.
_LEAST_ERROR = 1e-6

# A similarity below this counts as this in MS-SSIM: a power below 1 has no finite gradient at 0, and a single scale
# that is uncorrelated in one pixel, as the finest is in noise, must not decide the product alone.
_LEAST_SIMILARITY = 1e-3

_warn = WarnOnce()


def quality_maps(
    preds: Tensor, target: Tensor, data_range: DataRange = 1.0, validate: bool = True
) -> dict[str, Tensor]:
    r"""Maps of how bad each pixel is by PSNR, SSIM and MS-SSIM: 0 where the images are equal, 1 at the worst.

    The maps of "SPIPS" (Lao and Yu, arXiv 2504.17234, 2025): each measure normalised to [0, 1] and inverted. The paper
    gives neither constants nor borders; these are ours. The ranges are fixed, never those of an image, so that maps of
    different images compare:

    - ``psnr``: :math:`1 - \mathrm{clip}(10 \log_{10}(1/e), 0, 60)/60` of the squared error :math:`e`, the mean over
      channels, with :math:`10^{-6}` (60 dB) added to it.
    - ``ssim``: one minus the SSIM of the luma (Wang et al., IEEE TIP 2004) with a Gaussian window of 11 pixels and
      sigma 1.5; negative similarity counts as 0.
    - ``ms_ssim``: one minus :math:`\prod_s cs_s^{\beta_s}\, l_M^{\beta_M}` of the luma, by :data:`SCALE_WEIGHTS`. Each
      scale is half as large; a coarser scale is brought up to the finer one bilinearly, in logarithms. A scale is used
      if its shorter side has at least 11 pixels, so all five from 161 pixels on, three at 64 and one below 21, and the
      weights of those in use are scaled up to a sum of 1. Similarity below 0.001 counts as 0.001, so the worst value is
      0.999. (Odd sides: the last row or column stands for itself in the next scale.)

    Luma, as SSIM and MS-SSIM were published, not a mean over channels: it costs a third and agrees better with opinion.
    On 58 images of LIVE the rank correlation of the MS-SSIM map's mean with DMOS is 0.943, over channels 0.908; on 133
    super-resolved images (their middle 512 x 512, within a reference) both are 0.94. Only ``psnr`` sees a change of
    colour alone.

    Maps are as large as the images: borders are mirrored (as often as it takes: images may be smaller than the window,
    down to one pixel), not cut off. All three are symmetric, and differentiable with finite gradients everywhere; where
    a map is clipped its gradient is zero.

    Args:
        preds: images under test, ``(N, 3, H, W)`` in ``data_range``, uint8 or uint16.
        target: the pristine references, likewise.
        data_range: range of floating point images: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``.
        validate: look at the values of images too (on a GPU this waits for the device).

    Returns:
        For each name of :data:`QUALITY_MAPS` its map ``(N, 1, H, W)`` in [0, 1]: float64 if one of the images is,
        float32 for all others, also under autocast.

    Raises:
        ValueError: for images that do not fit, naming the value and the fix.

    >>> target = torch.rand(2, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    >>> {name: float(drawn.sum()) for name, drawn in quality_maps(target, target).items()}
    {'psnr': 0.0, 'ssim': 0.0, 'ms_ssim': 0.0}
    >>> maps = quality_maps(0.5 * target, target)
    >>> maps["ssim"].shape, round(float(maps["ssim"].mean()), 2)
    (torch.Size([2, 1, 64, 80]), 0.36)
    """
    check_pair(preds, target)
    floating = preds.is_floating_point(), target.is_floating_point()
    dtype = torch.float64 if torch.float64 in (preds.dtype, target.dtype) else torch.float32
    preds, target = to_unit(preds, data_range, dtype, "preds"), to_unit(target, data_range, dtype, "target")
    if validate and not torch.compiler.is_compiling():
        check_values(preds, target, data_range, _warn, floating)
    with full_precision(preds):
        scales = dissimilarity_scales(preds, target)
        return {
            "psnr": _psnr_map(preds, target),
            "ssim": _ssim_map(*scales[0]).contiguous(),
            "ms_ssim": _ms_ssim_map(scales).contiguous(),
        }


def count_scales(height: int, width: int) -> int:
    """How many scales of MS-SSIM an image has: those whose shorter side holds the window, but at least one.

    >>> count_scales(512, 161), count_scales(64, 64), count_scales(8, 8)
    (5, 3, 1)
    """
    shorter, count = min(height, width), 1
    while count < len(SCALE_WEIGHTS) and (shorter := -(-shorter // 2)) >= _WINDOW:
        count += 1
    return count


def dissimilarity_scales(preds: Tensor, target: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The two parts of the luma's SSIM at each scale: ``1 - l`` (luminance) and ``1 - cs`` (contrast and structure).

    Args:
        preds: images ``(N, 3, H, W)`` in [0, 1], at least float32.
        target: the references, likewise.

    Returns:
        For each of :func:`count_scales` scales, finest first, two maps ``(N, 1, h, w)``, at least 0, with ``h`` halved
        (rounded up) from scale to scale.
    """
    luma = preds.new_tensor(LUMA).view(1, 3, 1, 1)
    one, other = (preds * luma).sum(1, keepdim=True), (target * luma).sum(1, keepdim=True)
    sides = torch.cat([one + other, one - other], 1)
    scales = [_dissimilarity(sides)]
    for _ in range(1, count_scales(*preds.shape[-2:])):
        sides = F.avg_pool2d(sides, 2, ceil_mode=True, count_include_pad=False)
        scales.append(_dissimilarity(sides))
    return scales


def _dissimilarity(sides: Tensor) -> tuple[Tensor, Tensor]:
    """``1 - l`` and ``1 - cs`` of the sum and the difference of two images, side by side in ``(N, 2, h, w)``."""
    sides = _mirrored(_mirrored(sides, 2), 3)
    # Filtering channel by channel: on the CPU several times faster in this layout; elsewhere see `_blurred`.
    sides = channels_last(sides) if sides.device.type == "cpu" else sides.contiguous()
    means, squares = _blurred(torch.cat([sides, sides.square()], 1)).chunk(2, 1)
    sum_mean, difference_mean = means.square().chunk(2, 1)
    # A variance that rounding made negative is none.
    sum_variance, difference_variance = (squares - means.square()).clamp(min=0).chunk(2, 1)
    luminance = difference_mean / ((sum_mean + difference_mean) / 2 + _C1)
    contrast = difference_variance / ((sum_variance + difference_variance) / 2 + _C2)
    return luminance, contrast


def _mirrored(images: Tensor, dim: int) -> Tensor:
    """Mirror half a window beyond both ends of one axis; by index, for images smaller than that."""
    length, border = images.shape[dim], _WINDOW // 2
    return images.index_select(dim, mirror_index(length, length + 2 * border, images.device, -border))


def _blurred(images: Tensor) -> Tensor:
    """Gaussian means ``(N, K, h, w)`` of mirrored images ``(N, K, h + 10, w + 10)``, rows first, then columns.

    One filter for each channel: on CUDA, in the plain layout, such a convolution keeps float32. Others go to cuDNN,
    which rounds to TF32 by default and leaves nothing of a variance.
    """
    weights = [math.exp(-0.5 * (place / _SIGMA) ** 2) for place in range(-(_WINDOW // 2), _WINDOW // 2 + 1)]
    total, channels = sum(weights), images.shape[1]
    kernel = torch.tensor([weight / total for weight in weights], device=images.device, dtype=images.dtype)
    images = F.conv2d(images, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(images, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


def _psnr_map(preds: Tensor, target: Tensor) -> Tensor:
    """``1 - PSNR/60`` as one logarithm, which is exactly 0 without an error and 1 at an error of the whole range."""
    error = (preds - target).square().mean(1, keepdim=True)
    return ((error / _LEAST_ERROR).log1p() / math.log1p(1 / _LEAST_ERROR)).clamp(max=1)


def _ssim_map(luminance: Tensor, contrast: Tensor) -> Tensor:
    """``1 - l cs``, clipped to [0, 1]; ``l`` too, which is negative where images leave their range."""
    luminance = luminance.clamp(max=1)
    return (luminance + contrast - luminance * contrast).clamp(max=1)


def _ms_ssim_map(scales: list[tuple[Tensor, Tensor]]) -> Tensor:
    """``1 - prod cs ** beta``, with the whole SSIM in the place of ``cs`` at the coarsest scale."""
    losses = [*(contrast for _, contrast in scales[:-1]), _ssim_map(*scales[-1])]
    weights = SCALE_WEIGHTS[: len(losses)]
    factors = (  # their logarithms, from the coarsest scale on
        (-loss.clamp(max=1 - _LEAST_SIMILARITY)).log1p() * (weight / sum(weights))
        for loss, weight in zip(reversed(losses), reversed(weights), strict=True)
    )
    product = next(factors)
    for factor in factors:
        product = factor + _doubled(product, factor)
    return -product.expm1()


def _doubled(coarse: Tensor, fine: Tensor) -> Tensor:
    """Bring a map to the scale twice as fine: each of its pixels over the two by two that it was made of."""
    height, width = fine.shape[-2:]
    return F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]


#: Names of what :func:`conventional` gives, in its order.
CONVENTIONAL = tuple(f"{drawn}_{pooled}" for drawn in QUALITY_MAPS for pooled in POOLED)


def conventional(preds: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Pool the quality maps of pairs; their values are not checked again.

    Args:
        preds: ``(N, 3, H, W)``, in [0, 1] or a little beyond, float32 or float64.
        target: likewise.
        mask: ``(N, 1, H, W)`` weights of pixels.

    Returns:
        ``(N, 9)`` in the order of :data:`CONVENTIONAL`, all at least 0; 0 for equal images.

    >>> target = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> conventional(target, target).tolist()
    [[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    maps = quality_maps(preds, target, validate=False)
    return torch.cat([pool_map(maps[name], mask, validate=False) for name in QUALITY_MAPS], 1)
