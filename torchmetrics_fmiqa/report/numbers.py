"""Numbers as reports print them: minus signs, no needless zeros, a dash for what is not known."""

from __future__ import annotations

import math


def number(value: float, digits: int = 3) -> str:
    """A coefficient: without the zero before its point, as correlations are printed.

    >>> number(0.85123), number(-0.0341), number(1.0), number(float("nan"))
    ('.851', '−.034', '1.000', '—')
    """
    if math.isnan(value):
        return "—"
    text = f"{abs(value):.{digits}f}"
    sign = "−" if value < 0 and float(text) > 0 else ""
    return sign + text.removeprefix("0")


def signed(value: float, digits: int = 3) -> str:
    """A difference, always with its sign.

    >>> signed(0.0592), signed(-2.5, 2), signed(0.0)
    ('+.059', '−2.50', '.000')
    """
    text = number(value, digits)
    return f"+{text}" if value > 0 and text.strip(".0") else text


def amount(value: float) -> str:
    """A number of any size, to three digits.

    >>> amount(12.3456), amount(0.7), amount(45678.9), amount(float("nan"))
    ('12.3', '.700', '45,679', '—')
    """
    if not math.isfinite(value):
        return "—" if math.isnan(value) else "∞" if value > 0 else "−∞"
    whole = abs(value) >= 1000 or value == 0
    return _signed(value, f"{abs(value):,.0f}" if whole else f"{abs(value):#.3g}".removesuffix("."))


def shortest(value: float) -> str:
    """A number with no more digits than it needs, for axes and settings.

    >>> shortest(0.25), shortest(4.0), shortest(-20.0), shortest(86.6)
    ('.25', '4', '−20', '86.6')
    """
    return _signed(value, f"{abs(value):,.0f}" if abs(value) >= 1000 else f"{abs(value):.4g}")


def _signed(value: float, text: str) -> str:
    return ("−" if value < 0 else "") + (text.removeprefix("0") if text.startswith("0.") else text)


def percent(value: float) -> str:
    r"""A share in per cent.

    >>> percent(0.0543), percent(float("nan"))
    ('5.4\xa0%', '—')
    """
    return "—" if math.isnan(value) else f"{100 * value:.1f}\u00a0%"


def p_value(p: float) -> str:
    r"""A p-value with its letter.

    >>> p_value(0.0321), p_value(0.00002), p_value(float("nan"))
    ('p\xa0=\xa0.032', 'p\xa0<\xa0.001', 'p\xa0unknown')
    """
    return "p\u00a0" + ("unknown" if math.isnan(p) else "<\u00a0.001" if p < 0.001 else f"=\u00a0{number(p)}")


def span(low: float, high: float, digits: int = 3) -> str:
    """An interval, empty if there is none.

    >>> span(0.8291, 0.8712), span(float("nan"), 1.0)
    ('[.829, .871]', '')
    """
    return "" if math.isnan(low) or math.isnan(high) else f"[{number(low, digits)}, {number(high, digits)}]"


def interval_words(low: float, high: float, otherwise: str = "") -> str:
    r"""A 95 % interval as the end of a sentence's part; other words if there is none.

    >>> interval_words(0.8291, 0.8712), interval_words(float("nan"), 1.0, ", without an interval")
    (', 95\xa0% interval [.829, .871]', ', without an interval')
    """
    interval = span(low, high)
    return f", 95\u00a0% interval {interval}" if interval else otherwise


def counted(count: int, singular: str) -> str:
    """A number of things.

    >>> counted(1, "image"), counted(3000, "image")
    ('1 image', '3,000 images')
    """
    return f"{count:,} {singular if count == 1 else singular + 's'}"


def capitalised(text: str) -> str:
    """A text with its first letter as a capital, and the others as they are.

    >>> capitalised("the SRCC")
    'The SRCC'
    """
    return text[:1].upper() + text[1:]
