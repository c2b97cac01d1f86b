"""What an image holds: high frequencies, edges, detail, colour. For asking what misjudged images have in common."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmetrics_fmiqa.features.image_checks import LUMA

# A spread of values below this is rounding: one step of 8 bits in the weakest channel is 4e-4.
_FLAT = 1e-6
_SMALLEST = 8


def image_features(reference: Tensor, distorted: Tensor) -> dict[tuple[str, str], float]:
    """Measure a pair of images: the four properties that the functions below measure.

    Each is taken of the ``"reference"`` and of the ``"distorted"`` image; high-frequency energy and Laplacian variance,
    which mean something of an error image, of their ``"difference"`` too.

    Images are ``(3, H, W)`` floating point in [0, 1], of one size, at least 8 x 8 pixels. Values are by
    ``(feature, side)``, all finite.

    Raises:
        ValueError: for smaller images.

    >>> reference = torch.linspace(0, 1, 16).expand(3, 16, 16)
    >>> values = image_features(reference, reference)
    >>> len(values), values["Laplacian variance", "difference"]
    (10, 0.0)
    """
    images = {"reference": reference, "distorted": distorted}
    if min(reference.shape[1:]) < _SMALLEST:
        least = f"at least {_SMALLEST} x {_SMALLEST} pixels"
        raise ValueError(f"the reference image must be (3, H, W) with {least}, got {tuple(reference.shape)}")
    lumas = {side: luma(image) for side, image in images.items()}
    values: dict[tuple[str, str], float] = {}
    for side, grey in (*lumas.items(), ("difference", lumas["distorted"] - lumas["reference"])):
        values["high-frequency energy", side] = high_frequency_energy(grey)
        values["Laplacian variance", side] = laplacian_variance(grey)
    for side, image in images.items():
        values["spatial information", side] = spatial_information(lumas[side])
        values["colourfulness", side] = colourfulness(image)
    return values


def luma(image: Tensor) -> Tensor:
    """Luma ``(H, W)`` of an image ``(3, H, W)``, as float64 in [0, 255]: the scale that the measures were made for."""
    weights = torch.tensor(LUMA, dtype=torch.float64, device=image.device)
    return 255 * torch.einsum("c,chw->hw", weights, image.double())


def high_frequency_energy(grey: Tensor) -> float:
    """Share of the spectral power of ``(H, W)`` beyond a quarter of a cycle a pixel, half of the Nyquist frequency.

    The mean is taken off and a Hann window put on, without which the seam from one side of the image to the other
    would count as detail. Contrast does not matter; an image without any has no high frequencies: 0.

    >>> row = torch.arange(16) % 2
    >>> round(high_frequency_energy(255.0 * row.expand(16, 16)), 3)
    1.0
    """
    if float(grey.max() - grey.min()) < 255 * _FLAT:
        return 0.0
    sides = [torch.hann_window(length, periodic=False, dtype=grey.dtype, device=grey.device) for length in grey.shape]
    window = torch.outer(*sides)
    # The mean under the window: what is left has no power at frequency 0.
    centred = (grey - (grey * window).sum() / window.sum()) * window
    power = torch.fft.fft2(centred).abs().square()
    rows, columns = (torch.fft.fftfreq(length, dtype=grey.dtype, device=grey.device) for length in grey.shape)
    beyond = torch.hypot(rows[:, None], columns[None, :]) > 0.25
    total = float(power.sum())
    # Whatever differs only where the window is 0 cannot be told from a flat image.
    return float(power[beyond].sum()) / total if total > 0 else 0.0


def laplacian_variance(grey: Tensor) -> float:
    """Variance of the Laplacian of ``(H, W)`` (kornia's of 3 x 3, its weights divided by 16): the usual sharpness.

    >>> laplacian_variance(torch.full((16, 16), 100.0))
    0.0
    """
    from kornia.filters import laplacian

    return float(laplacian(grey[None, None], 3).var(correction=0))


def spatial_information(grey: Tensor) -> float:
    """Spatial information of ITU-T P.910: standard deviation of the magnitude of Sobel's gradient of ``(H, W)``.

    The outermost pixels, where the gradient is not known, are left out.

    >>> spatial_information(torch.arange(16.0).expand(16, 16))
    0.0
    """
    from kornia.filters import spatial_gradient

    gradient = spatial_gradient(grey[None, None], "sobel", normalized=False)[0, 0, :, 1:-1, 1:-1]
    return float(torch.hypot(gradient[0], gradient[1]).std(correction=0))


def colourfulness(image: Tensor) -> float:
    """Colourfulness of ``(3, H, W)`` by Hasler and Suesstrunk (SPIE 5007, 2003), on the scale of [0, 255].

    From 0 for grey to about 109 for "extremely colourful" by their viewers.

    >>> colourfulness(torch.full((3, 16, 16), 0.5))
    0.0
    """
    red, green, blue = 255 * image.double()
    opponents = torch.stack([red - green, (red + green) / 2 - blue]).flatten(1)
    spread = float(opponents.std(1, correction=0).norm())
    return spread + 0.3 * float(opponents.mean(1).norm())
