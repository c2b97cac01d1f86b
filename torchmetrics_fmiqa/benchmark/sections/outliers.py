"""Images that a metric misjudges: of which types, with what in them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torchmetrics_fmiqa.benchmark.analysis.outliers import FeatureTest, OutlierFinding
from torchmetrics_fmiqa.report import cells
from torchmetrics_fmiqa.report.document import DRAWN, Cell, Name, Section, Table, Text
from torchmetrics_fmiqa.report.numbers import counted, number, p_value, percent
from torchmetrics_fmiqa.report.svg import bar

_ALPHA = 0.05
_SIDES = {"distorted": "image under test", "difference": "difference of both"}


def outliers_section(findings: Sequence[OutlierFinding]) -> Section:
    """Outliers of each metric, by type and by what is in the images."""
    lead: list[Text] = []
    tables: list[Table] = []
    for place, finding in enumerate(findings):
        lead += [_count_words(finding), *((text,) for text in _property_words(finding))]
        if finding.by_type:
            tables.append(_types_table(finding, place))
        if finding.pooled or finding.stratified:
            tables.append(_tests_table(finding, place))
    how = (
        "Effect is the chance that an outlier has more of a property than another image: .5 is no difference. "
        "Within types compares images of one type of distortion only, so that a type that is misjudged as a whole "
        "does not pass for its content."
    )
    return Section("outliers", "Misjudged images", lead, [(how,)], tables=tables)


def _count_words(finding: OutlierFinding) -> Text:
    part = percent(finding.count / finding.n) if finding.n else "—"
    count = f"{counted(finding.count, 'outlier')} in {counted(finding.n, 'image')}"
    text: Text = (Name(finding.metric), f": {count} ({part}; {finding.rule}). ")
    shares = {name: outliers / images for name, (outliers, images) in finding.by_type.items() if images and outliers}
    if shares:
        worst = max(shares, key=shares.__getitem__)
        text += ("Most often of type ", Name(worst), ": {:,} of {:,}.".format(*finding.by_type[worst]))
    return text


def _property_words(finding: OutlierFinding) -> list[str]:
    """What each test says over all images, and whether it still does within types."""
    stratified = {(test.feature, test.side): test for test in finding.stratified}
    pooled = {(test.feature, test.side): test for test in finding.pooled if _is_settled(test)}
    sentences = []
    places = {key: f"{key[0]} in the {_SIDES.get(key[1], key[1])}" for key in {**pooled, **stratified}}
    for key, test in pooled.items():
        within, place = stratified.get(key), places[key]
        text = f"Its outliers hold {_more(test)} {place} than other images ({_result(test)})"
        if within is None:
            sentences.append(f"{text}; types are not known, so that they may be the reason.")
        elif not _is_settled(within):
            sentences.append(f"{text}, but not so within types ({_result(within)}): the types may be the reason.")
        elif _more(within) == _more(test):
            sentences.append(f"{text}, and so within types ({_result(within)}): types do not explain it.")
        else:
            sentences.append(f"{text}, yet {_more(within)} within types ({_result(within)}): types turn it round.")
    for key, test in stratified.items():
        if _is_settled(test) and key not in pooled:
            text = f"Within types its outliers hold {_more(test)} {places[key]} ({_result(test)})"
            sentences.append(f"{text}, which the pooled test does not show.")
    if not sentences and (finding.pooled or finding.stratified):
        return ["No property that was measured sets its outliers apart, beyond chance."]
    return sentences


def _is_settled(test: FeatureTest) -> bool:
    return _p_values(test)[1] < _ALPHA and test.effect != 0.5


def _p_values(test: FeatureTest) -> tuple[float, float]:
    """The p-value and its correction: of references, where they are known, since images of one are not independent."""
    if math.isnan(test.p_clustered):
        return test.p, test.p_holm
    return test.p_clustered, test.p_clustered_holm


def _more(test: FeatureTest) -> str:
    return "more" if test.effect > 0.5 else "less"


def _result(test: FeatureTest) -> str:
    return f"effect {number(test.effect)}, {p_value(_p_values(test)[1])}"


def _types_table(finding: OutlierFinding, place: int) -> Table:
    shares = {name: outliers / images if images else math.nan for name, (outliers, images) in finding.by_type.items()}
    rows = [
        (
            cells.row_name(name),
            *map(cells.count, finding.by_type[name]),
            cells.percent(shares[name]),
            Cell("", shares[name], drawing=None if math.isnan(shares[name]) else bar(shares[name])),
        )
        for name in sorted(shares, key=lambda name: (-shares[name] if finding.by_type[name][1] else 0.0, name))
    ]
    caption = f"Outliers of {finding.metric} by type."
    columns = cells.columns("type", "outliers", "images", "share", DRAWN)
    return Table(f"outlier-types-{place}", caption, columns, rows, folded=caption if place else "")


def _tests_table(finding: OutlierFinding, place: int) -> Table:
    columns = cells.columns(
        *("property", "measured in", "compared", ("effect", ".5 is no difference")),
        ("p", "rank sums (within types van Elteren's), references taken together where they are known"),
        ("p, Holm", "corrected for all tests made"),
        *("outliers", "inliers", ("types", "that had both")),
    )
    rows = [
        (
            *(Cell(text) for text in (test.feature, _SIDES.get(test.side, test.side), compared)),
            cells.coefficient(test.effect),
            *map(cells.p_value, _p_values(test)),
            cells.count(test.outliers),
            cells.count(test.inliers),
            cells.UNKNOWN if compared == "all" else cells.count(test.strata),
        )
        for compared, tests in (("all", finding.pooled), ("within types", finding.stratified))
        for test in tests
    ]
    caption = f"What is in the outliers of {finding.metric}."
    return Table(f"outlier-tests-{place}", caption, columns, rows, folded=caption)
