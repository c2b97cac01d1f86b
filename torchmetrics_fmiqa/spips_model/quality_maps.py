"""The conventional part of SPIPS: PSNR, SSIM and MS-SSIM as maps with 0 for equal and 1 for worst, and their pooling.

SSIM and MS-SSIM share a pyramid of Gaussian moments, of the sum and the difference of the two images. The variance of
the difference over the variance of the sum is the *dis*similarity itself. It is exactly 0 for equal images, and precise
near 0, where one minus the similarity would lose its digits.
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

#: Names of the maps of :func:`quality_maps`, in their order.
QUALITY_MAPS = ("psnr", "ssim", "ms_ssim")

#: Weights of the scales of MS-SSIM, finest first (Wang, Simoncelli and Bovik, Asilomar 2003).
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2

# Added to the squared error, so that PSNR is at most 60 dB.
_LEAST_ERROR = 1e-6

# Lower bound of the similarity in MS-SSIM. A power below 1 has no finite gradient at 0. And a single scale that is
# uncorrelated at a pixel, as the finest scale is in noise, must not decide the product alone.
_LEAST_SIMILARITY = 1e-3

_warn = WarnOnce()


def quality_maps(
    preds: Tensor, target: Tensor, data_range: DataRange = 1.0, validate: bool = True
) -> dict[str, Tensor]:
    r"""Dissimilarity maps by PSNR, SSIM and MS-SSIM: 0 where the images are equal, 1 at the worst.

    These are the maps of "SPIPS" (Lao and Yu, arXiv 2504.17234, 2025): each measure is normalised to [0, 1] and
    inverted. The paper gives no constants and no treatment of borders; these are ours. The ranges are fixed, so that
    maps of different images compare:

    - ``psnr``: :math:`1 - \mathrm{clip}(10 \log_{10}(1/e), 0, 60)/60`. The squared error :math:`e` is the mean over
      channels plus :math:`10^{-6}` (60 dB).
    - ``ssim``: one minus the SSIM of the luma (Wang et al., IEEE TIP 2004) with a Gaussian window of 11 pixels and
      sigma 1.5. Negative similarity counts as 0.
    - ``ms_ssim``: one minus :math:`\prod_s cs_s^{\beta_s}\, l_M^{\beta_M}` of the luma, with :data:`SCALE_WEIGHTS`.

      - Each scale is half as large as the one before. The last row or column of an odd side is kept as it is.
      - A coarser scale is interpolated bilinearly to the next finer one, in logarithms.
      - A scale is used if its shorter side has at least 11 pixels: all five from 161 pixels, three at 64, one below 21.
        The weights of the scales in use are rescaled to a sum of 1.
      - Similarity below 0.001 counts as 0.001, so the worst value is 0.999.

    SSIM and MS-SSIM use the luma, as they were published, not a mean over channels. That costs a third, and agrees
    better with opinion. On 58 images of LIVE the rank correlation of the MS-SSIM map's mean with DMOS is 0.943, and
    0.908 over channels. On 133 super-resolved images (their middle 512 x 512, within a reference) both are 0.94. Only
    ``psnr`` sees a change of colour alone.

    Maps are as large as the images: borders are mirrored, not cut off. Mirroring repeats for images smaller than the
    window, down to one pixel. All maps are symmetric in their inputs, and differentiable with finite gradients
    everywhere; where a map is clipped its gradient is zero.

    Args:
        preds: images under test, ``(N, 3, H, W)`` in ``data_range``, uint8 or uint16.
        target: the pristine references, in the same form.
        data_range: range of floating point images: ``1.0`` for [0, 1], ``255``, or a pair such as ``(-1, 1)``.
        validate: check the values of images too (on a GPU this waits for the device).

    Returns:
        For each name of :data:`QUALITY_MAPS` its map ``(N, 1, H, W)`` in [0, 1]: float64 if an image is float64, else
        float32, also under autocast.

    Raises:
        ValueError: for invalid images; the message names the value and the fix.

    >>> target = torch.rand(2, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    >>> {name: float(map.sum()) for name, map in quality_maps(target, target).items()}
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
    """Number of scales of MS-SSIM for an image: those whose shorter side fits the window, at least one.

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
        target: the references, in the same form.

    Returns:
        For each of :func:`count_scales` scales, finest first, two maps ``(N, 1, h, w)`` of values of at least 0. ``h``
        is halved, rounded up, from scale to scale.
    """
    luma = preds.new_tensor(LUMA).view(1, 3, 1, 1)
    preds, target = (preds * luma).sum(1, keepdim=True), (target * luma).sum(1, keepdim=True)
    sum_and_difference = torch.cat([preds + target, preds - target], 1)
    scales = [_dissimilarity(sum_and_difference)]
    for _ in range(1, count_scales(*preds.shape[-2:])):
        sum_and_difference = F.avg_pool2d(sum_and_difference, 2, ceil_mode=True, count_include_pad=False)
        scales.append(_dissimilarity(sum_and_difference))
    return scales


def _dissimilarity(sum_and_difference: Tensor) -> tuple[Tensor, Tensor]:
    """``1 - l`` and ``1 - cs`` from the sum and the difference of two images, the channels of ``(N, 2, h, w)``."""
    images = _mirrored(_mirrored(sum_and_difference, 2), 3)
    # On the CPU, filtering each channel is several times faster channels last; for other devices see `_blurred`.
    images = channels_last(images) if images.device.type == "cpu" else images.contiguous()
    means, squares = _blurred(torch.cat([images, images.square()], 1)).chunk(2, 1)
    sum_mean, difference_mean = means.square().chunk(2, 1)
    # Rounding can make a variance negative.
    sum_variance, difference_variance = (squares - means.square()).clamp(min=0).chunk(2, 1)
    luminance = difference_mean / ((sum_mean + difference_mean) / 2 + _C1)
    contrast = difference_variance / ((sum_variance + difference_variance) / 2 + _C2)
    return luminance, contrast


def _mirrored(images: Tensor, dim: int) -> Tensor:
    """Pad an axis by half a window at both ends by mirroring; by index, because images may be smaller than the pad."""
    length, border = images.shape[dim], _WINDOW // 2
    return images.index_select(dim, mirror_index(length, length + 2 * border, images.device, -border))


def _blurred(images: Tensor) -> Tensor:
    """Gaussian means ``(N, K, h, w)`` of mirrored images ``(N, K, h + 10, w + 10)``, rows first, then columns.

    The convolution has a group for each channel. On CUDA, in the contiguous layout, such a convolution keeps float32.
    Others go to cuDNN, which rounds to TF32 by default; that would destroy the variances.
    """
    weights = [math.exp(-0.5 * (offset / _SIGMA) ** 2) for offset in range(-(_WINDOW // 2), _WINDOW // 2 + 1)]
    total, channels = sum(weights), images.shape[1]
    kernel = torch.tensor([weight / total for weight in weights], device=images.device, dtype=images.dtype)
    images = F.conv2d(images, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(images, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


def _psnr_map(preds: Tensor, target: Tensor) -> Tensor:
    """``1 - PSNR/60`` as a single logarithm: exactly 0 without an error, and 1 at an error of the full range."""
    error = (preds - target).square().mean(1, keepdim=True)
    return ((error / _LEAST_ERROR).log1p() / math.log1p(1 / _LEAST_ERROR)).clamp(max=1)


def _ssim_map(luminance: Tensor, contrast: Tensor) -> Tensor:
    """``1 - l cs``, clipped to [0, 1]; ``1 - l`` is clipped too: it exceeds 1 where images leave their range."""
    luminance = luminance.clamp(max=1)
    return (luminance + contrast - luminance * contrast).clamp(max=1)


def _ms_ssim_map(scales: list[tuple[Tensor, Tensor]]) -> Tensor:
    """``1 - prod cs ** beta``, with the full SSIM instead of ``cs`` at the coarsest scale."""
    losses = [*(contrast for _, contrast in scales[:-1]), _ssim_map(*scales[-1])]
    weights = SCALE_WEIGHTS[: len(losses)]
    log_factors = (  # from the coarsest scale on
        (-loss.clamp(max=1 - _LEAST_SIMILARITY)).log1p() * (weight / sum(weights))
        for loss, weight in zip(reversed(losses), reversed(weights), strict=True)
    )
    log_product = next(log_factors)
    for log_factor in log_factors:
        log_product = log_factor + _upsampled(log_product, log_factor)
    return -log_product.expm1()


def _upsampled(coarse: Tensor, fine: Tensor) -> Tensor:
    """Interpolate a map to the size of the next finer one, with pixels centred over the two by two they average."""
    height, width = fine.shape[-2:]
    return F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]


#: Names of the columns of :func:`conventional`.
CONVENTIONAL = tuple(f"{name}_{pooled}" for name in QUALITY_MAPS for pooled in POOLED)


def conventional(preds: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Pool the quality maps of pairs. Values are not checked here.

    Args:
        preds: ``(N, 3, H, W)``, in [0, 1] or a little beyond, float32 or float64.
        target: the references, in the same form.
        mask: ``(N, 1, H, W)`` weights of pixels.

    Returns:
        ``(N, 9)`` in the order of :data:`CONVENTIONAL`, all at least 0; 0 for equal images.

    >>> target = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> conventional(target, target).tolist()
    [[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    maps = quality_maps(preds, target, validate=False)
    return torch.cat([pool_map(maps[name], mask, validate=False) for name in QUALITY_MAPS], 1)
