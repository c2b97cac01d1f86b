"""Warn of images that seem to be in another range than declared, judged by their values."""

from __future__ import annotations

from torch import Tensor

from torchmetrics_fmiqa.misuse import WarnOnce

#: Least and greatest value of images, after the declared range was mapped to [0, 1].
Span = tuple[float, float]

# Share of the range; values further outside than this are more than ringing and rounding.
_FAR = 0.25
# Share of such values that is more than outliers. Noise of standard deviation 50/255 on a black image reaches it.
_MANY = 0.1
# From this width on a range is one of integers (0..255), in which images in [0, 1] are black.
_INTEGER_WIDTH = 16.0


def warn_of_range(
    preds: Tensor,
    target: Tensor,
    spans: tuple[Span, Span],
    limits: tuple[float, float],
    floating: tuple[bool, bool],
    warn: WarnOnce,
) -> None:
    """Warn once if preds or target seems to be in another range than declared.

    This waits for the device again only if the spans are suspicious.

    Args:
        preds: ``(N, 3, H, W)``, mapped to [0, 1].
        target: ``(N, 3, H, W)``, mapped to [0, 1].
        spans: spans of preds and target.
        limits: the declared range.
        floating: whether preds and target were floating point; the range of integers is that of the dtype.
        warn: callable that warns once.
    """
    declared = f"data_range {limits[0]:g} .. {limits[1]:g}"
    if floating[0] and not warn.has_warned("range of preds"):
        share = _share_far_outside(preds, spans[0], limits)
        if share > _MANY or _is_unit_alone(preds, spans, limits):
            outside = f"with {share:.0%} of its values far outside the range" if share > _MANY else "and no more"
            warn(
                "range of preds",
                f"`preds` spans {_shown(spans[0], limits)} {outside}, while `target` spans {_shown(spans[1], limits)} "
                f"({declared}): bring both to one range first, such as preds = (preds + 1) / 2 for the output of tanh",
            )
    if floating[1] and not warn.has_warned("range of target"):
        share = _share_far_outside(target, spans[1], limits)
        if share > _MANY or _is_black(target, spans[1], limits):
            outside = f"{share:.0%} of it far outside, which is clamped" if share > _MANY else "which is black there"
            warn(
                "range of target",
                f"`target` spans {_shown(spans[1], limits)}, {outside} ({declared}): give the range of the images as "
                "data_range",
            )


def _shown(span: Span, limits: tuple[float, float]) -> str:
    return " .. ".join(f"{value:.4g}" for value in _declared(span, limits))


def _declared(span: Span, limits: tuple[float, float]) -> Span:
    """A span in the declared unit."""
    low, high = limits
    return low + span[0] * (high - low), low + span[1] * (high - low)


def _share_far_outside(images: Tensor, span: Span, limits: tuple[float, float]) -> float:
    """Share of values far outside the range; 0 if they may be the output of an untrained network."""
    if span[0] >= -_FAR and span[1] <= 1 + _FAR:
        return 0.0
    # An untrained network gives any values. In training, only what looks like the output of tanh is suspicious.
    if images.requires_grad and not (limits == (0.0, 1.0) and -1.005 <= span[0] < -0.75 and span[1] <= 1.005):
        return 0.0
    return float(((images < -_FAR) | (images > 1 + _FAR)).float().mean())


def _is_unit_alone(preds: Tensor, spans: tuple[Span, Span], limits: tuple[float, float]) -> bool:
    """Whether preds use a unit range alone, such as [0, 1], while target uses more of a larger declared range."""
    (least, most), (darkest, brightest) = (_declared(span, limits) for span in spans)
    if limits[0] < 0:
        return limits == (-1.0, 1.0) and darkest < -0.75 and least >= -0.005 and 0.5 < most <= 1.005
    if preds.requires_grad and (least < -0.005 or most < 0.5):  # an untrained network gives small values
        return False
    return brightest > _INTEGER_WIDTH and _is_black(preds, spans[0], limits)


def _is_black(images: Tensor, span: Span, limits: tuple[float, float]) -> bool:
    """Whether images in an integer range have only fractions of 1."""
    low, high = limits
    least, most = _declared(span, limits)
    if high - low < _INTEGER_WIDTH or least < -1.005 or not 0 < most <= 1.005:
        return False
    values = images.detach() * (high - low) + low
    return bool(((values - values.round()).abs() > 0.01).any())  # a black video frame has values 0 and 1, not fractions
