"""What reports are printed with in Markdown: numbers, intervals, tables, code, and text without markup."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence


def number(value: float) -> str:
    """Four decimals, without the zero in front; a dash for what is not known.

    >>> number(0.98765), number(-0.01), number(1.0), number(float("nan"))
    ('.9877', '-.0100', '1.0000', '—')
    """
    text = f"{value:.4f}"
    return "—" if math.isnan(value) else text.replace("0.", ".", 1) if abs(value) < 1 else text


def span(low: float, high: float) -> str:
    """An interval; nothing where it is not known.

    >>> span(-0.01, 0.25), span(float("nan"), 1.0)
    ('[-.0100, .2500]', '')
    """
    return "" if math.isnan(low) else f"[{number(low)}, {number(high)}]"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""A table; bars in its cells are escaped.

    >>> print(table(["metric", "SRCC"], [["a|b", ".9"]]))
    | metric | SRCC |
    | --- | --- |
    | a\|b | .9 |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(text: str) -> str:
    """Text as code on one line, fenced by more backticks than it holds.

    >>> code("fmiqa fit"), code("a`b")
    ('`fmiqa fit`', '`` a`b ``')
    """
    line = " ".join(text.split())
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {line} {fence}" if longest else f"{fence}{line}{fence}"


def escaped(text: str) -> str:
    r"""Text on one line, whose signs are no markup: not HTML, not emphasis, not code, not a link.

    >>> print(escaped("a*b <i>"))
    a\*b \<i>
    """
    line = re.sub(r"\s*[\r\n]+\s*", " ", text)
    return re.sub(r"[\\`*<]|(?<=\])\(", r"\\\g<0>", line)
