"""Images that a metric misjudges: of which types, with what in them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torchmetrics_fmiqa.benchmark.analysis.outliers import FeatureTest, OutlierFinding
from torchmetrics_fmiqa.report.document import (
    Cell,
    Column,
    Name,
    Section,
    Table,
    Text,
    chance,
    coefficient,
    number,
    p_value,
    percent,
    several,
    share,
    whole,
)
from torchmetrics_fmiqa.report.svg import bar

_ALPHA = 0.05


def outliers_section(findings: Sequence[OutlierFinding]) -> Section:
    """Outliers of each metric, by type and by what is in the images."""
    lead: list[Text] = []
    tables: list[Table] = []
    for place, one in enumerate(findings):
        lead.append(_count_words(one))
        lead += _feature_words(one)
        if one.by_type:
            tables.append(_types(one, place))
        if one.pooled or one.stratified:
            tables.append(_tests(one, place))
    how: Text = (
        "Effect is the chance that an outlier has more of a property than another image: .5 is no difference. "
        "Within types compares images of one type of distortion only, so that a type that is misjudged as a whole "
        "does not pass for its content.",
    )
    return Section("outliers", "Misjudged images", tuple(lead), (how,), tables=tuple(tables))


def _count_words(one: OutlierFinding) -> Text:
    part = percent(one.count / one.n) if one.n else "—"
    text: Text = (
        Name(one.metric),
        f": {several(one.count, 'outlier')} in {several(one.n, 'image')} ({part}; {one.rule}). ",
    )
    common = {name: (bad, of) for name, (bad, of) in one.by_type.items() if of and bad}
    if not common:
        return text
    worst = max(common, key=lambda name: common[name][0] / common[name][1])
    bad, of = common[worst]
    return (*text, "Most often of type ", Name(worst), f": {bad:,} of {of:,}.")


def _feature_words(one: OutlierFinding) -> list[Text]:
    """What each test says once the types are taken out."""
    inside = {(test.feature, test.side): test for test in one.stratified}
    found: list[Text] = []
    for test in one.pooled:
        if not _settled(test):
            continue
        within = inside.get((test.feature, test.side))
        told = (
            f"Its outliers hold {_more(test)} {test.feature} in the {_side(test)} than other images ({_figures(test)})"
        )
        if within is None:
            found.append((f"{told}; types are not known, so that they may be the reason.",))
        elif not _settled(within):
            found.append((f"{told}, but not so within types ({_figures(within)}): the types may be the reason.",))
        elif (within.effect > 0.5) == (test.effect > 0.5):
            found.append((f"{told}, and so within types ({_figures(within)}): types do not explain it.",))
        else:
            found.append((f"{told}, yet {_more(within)} within types ({_figures(within)}): types turn it round.",))
    pooled = {(test.feature, test.side) for test in one.pooled if _settled(test)}
    found += [
        (
            f"Within types its outliers hold {_more(test)} {test.feature} in the {_side(test)} ({_figures(test)}), "
            "which the pooled test does not show.",
        )
        for test in one.stratified
        if _settled(test) and (test.feature, test.side) not in pooled
    ]
    if not found and (one.pooled or one.stratified):
        return [("No property that was measured sets its outliers apart, beyond chance.",)]
    return found


def _settled(test: FeatureTest) -> bool:
    return _chances(test)[1] < _ALPHA and test.effect != 0.5


def _chances(test: FeatureTest) -> tuple[float, float]:
    """The p-value and its correction: of references, where they are known, since images of one are not independent."""
    if math.isnan(test.p_clustered):
        return test.p, test.p_holm
    return test.p_clustered, test.p_clustered_holm


def _more(test: FeatureTest) -> str:
    return "more" if test.effect > 0.5 else "less"


def _side(test: FeatureTest) -> str:
    return {"reference": "reference", "distorted": "image under test", "difference": "difference of both"}.get(
        test.side, test.side
    )


def _figures(test: FeatureTest) -> str:
    return f"effect {number(test.effect)}, p\u00a0{chance(_chances(test)[1])}"


def _types(one: OutlierFinding, place: int) -> Table:
    rows = tuple(
        (
            Cell(name),
            whole(bad),
            whole(of),
            share(bad / of if of else math.nan),
            Cell("", bad / of if of else math.nan, drawing=bar(bad / of) if of else None),
        )
        for name, (bad, of) in sorted(one.by_type.items(), key=lambda item: (-item[1][0] / max(item[1][1], 1), item[0]))
    )
    columns = tuple(map(Column, ("type", "outliers", "images", "share", "drawn")))
    caption = f"Outliers of {one.metric} by type."
    return Table(f"outlier-types-{place}", caption, columns, rows, folded=caption if place else "")


def _tests(one: OutlierFinding, place: int) -> Table:
    columns = (
        Column("property"),
        Column("measured in"),
        Column("compared"),
        Column("effect", ".5 is no difference"),
        Column("p", "rank sums (within types van Elteren's), references taken together where they are known"),
        Column("p, Holm", "corrected for all tests made"),
        Column("outliers"),
        Column("inliers"),
        Column("types", "that had both"),
    )
    rows = tuple(
        (
            Cell(test.feature),
            Cell(_side(test)),
            Cell(compared),
            coefficient(test.effect),
            *map(p_value, _chances(test)),
            whole(test.outliers),
            whole(test.inliers),
            whole(test.strata) if compared == "within types" else Cell("—", math.nan),
        )
        for compared, tests in (("all", one.pooled), ("within types", one.stratified))
        for test in tests
    )
    caption = f"What is in the outliers of {one.metric}."
    return Table(f"outlier-tests-{place}", caption, columns, rows, folded=caption)
