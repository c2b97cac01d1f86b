"""The benchmark's HTML and Markdown pages: what they say is what the study holds, and the page works in a browser."""

from __future__ import annotations

import base64
import io
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.browser import Browser
from tests.published_tables import tid2013
from torchmetrics_fmiqa.benchmark.analysis.agreement import analyse
from torchmetrics_fmiqa.benchmark.analysis.attacks import AttackResult
from torchmetrics_fmiqa.benchmark.analysis.cost import Cost
from torchmetrics_fmiqa.benchmark.analysis.desirability import Desirability, Factor
from torchmetrics_fmiqa.benchmark.analysis.imagenet_accuracy import AccuracyFinding
from torchmetrics_fmiqa.benchmark.analysis.layers import LayerCurve
from torchmetrics_fmiqa.benchmark.analysis.loss_suitability import LossSuitability
from torchmetrics_fmiqa.benchmark.analysis.outliers import FeatureTest, OutlierFinding, WorstCase
from torchmetrics_fmiqa.benchmark.metrics.metric import Skipped
from torchmetrics_fmiqa.benchmark.reports import study_report
from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable
from torchmetrics_fmiqa.benchmark.sections import gallery as pictures
from torchmetrics_fmiqa.benchmark.sections import scatter
from torchmetrics_fmiqa.benchmark.sections.scatter import scatter_data
from torchmetrics_fmiqa.benchmark.study import GalleryItem, Study
from torchmetrics_fmiqa.data.pairs import Problem
from torchmetrics_fmiqa.report.html import render_html
from torchmetrics_fmiqa.report.markdown import render_markdown
from torchmetrics_fmiqa.report.svg import named_points

HOSTILE = (
    "<script>boom()</script>",
    "</script><script>boom()</script>",
    "\"><img src=x onerror='boom()'>",
    "' onmouseover='boom()",
    "{{ 7 * 7 }} {% raw %}",
    "<!-- a comment -->",
    "naïve ünï😀 \u202eright",
    "`a|b` *c* [d](e)",
    "long_" * 40,
)


def made_up_table(names: dict[str, str] | None = None, opinion_sign: float = 1.0, seed: int = 0) -> ScoredTable:
    """Scores of 5 metrics, two of them qualities, on 96 images of 8 references and 3 types."""
    named = names or {}
    rng = np.random.default_rng(seed)
    quality = rng.uniform(0, 1, size=96)
    noise = lambda size: size * rng.normal(size=96)  # noqa: E731
    scores = {
        "near": 1 / (1 + np.exp(6 * (quality + noise(0.03) - 0.5))),
        "next": -quality + noise(0.12),
        "psnr": 20 + 20 * quality + noise(5.0),
        "poor": noise(1.0) - quality,
        "ssim": quality + noise(0.2),
    }
    scores = {named.get(name, name): values for name, values in scores.items()}
    changed = {name: values + rng.normal(size=96) * values.std() / 3 for name, values in scores.items()}
    return ScoredTable(
        scores,
        {"translation": changed},
        opinion_sign * (1 + 4 * quality),
        np.array([f"ref{row // 12}.png" for row in range(96)]),
        np.array([named.get(f"image{row}", f"image{row}.png") for row in range(96)]),
        np.array([named.get(f"type{row % 3}", f"type{row % 3}") for row in range(96)]),
    )


def full_study(names: dict[str, str] | None = None) -> Study:
    """A study with something in each of its parts."""
    called = (names or {}).get
    rng = np.random.default_rng(1)
    table = made_up_table(names)
    found = analyse(table, "better", [called("psnr", "psnr"), called("ssim", "ssim")], resamples=60)
    metrics = tuple(one.metric for one in found.agreements)
    values = rng.uniform(0.2, 1, size=(5, 3))
    values[4, 2] = np.nan
    factors = tuple(Factor(f"f{k}", called(f"factor{k}", f"factor {k}"), 1.0 + k, f"meaning {k}") for k in range(3))
    tests = tuple(
        FeatureTest("high-frequency energy", side, effect, p, p, 7, 89, 0)
        for side, effect, p in (("reference", 0.71, 1e-5), ("distorted", 0.66, 0.003), ("difference", 0.52, 0.4))
    )
    within = (replace(tests[0], effect=0.68, strata=3), replace(tests[1], effect=0.51, p=0.8, p_holm=0.8, strata=3))
    worst = tuple(
        WorstCase(row, str(table.reference[row]), str(table.image[row]), str(table.type[row]), 3.25, 1.5, z)  # type: ignore[index]
        for row, z in ((4, 3.3), (9, -2.9))
    )
    gallery = tuple(
        GalleryItem(
            case,
            rng.integers(0, 256, size=(40, 60, 3), dtype=np.uint8),
            rng.integers(0, 256, size=(40, 60, 3), dtype=np.uint8),
            rng.uniform(size=(40, 60)).astype(np.float32) if place else None,
        )
        for place, case in enumerate(worst)
    )
    taps = tuple(called(f"blocks.{k}", f"blocks.{k}") for k in range(4))
    return Study(
        title=called("title", "made up"),
        command=called("command", "fmiqa benchmark --scores made_up.csv"),
        table=table,
        analysis=found,
        layers=(
            LayerCurve(
                metrics[0], taps, (0.41, 0.72, 0.69, 0.55), (0.3, 0.6, 0.6, 0.4), (0.5, 0.8, 0.8, 0.6), 0.74, 0.01
            ),
            LayerCurve(metrics[1], taps[:1], (math.nan,), (math.nan,), (math.nan,), math.nan, math.nan),
        ),
        attacks=tuple(
            AttackResult(metrics[k], attack, "raise", 4.0, 1.5 + k, 0.05, 41.5, 8)
            for k in range(2)
            for attack in ("fgsm", "pgd")
        ),
        loss_suitability=tuple(
            LossSuitability(name, float(k > 0), 1.0, 0.9, 0.8125) for k, name in enumerate(metrics[:3])
        ),
        cost=tuple(Cost(name, 0.01 * 7**k, 5.7 * k) for k, name in enumerate(metrics[:3])),
        desirability=Desirability(
            metrics,
            factors,
            values,
            np.array([0.9, 0.8, 0.7, 0.6, 0.55]),
            np.array([0, 0, 0, 0, 1]),
            np.array([1, 2, 3, 4, 1]),
            np.array([[1, 2, 1], [2, 1, 2], [3, 3, 4], [4, 4, 3], [1, 1, 1]]),
            np.array([[1, 2], [1, 3], [2, 4], [3, 4], [1, 1.0]]),
            np.array([0.625, 0.25, 0.125, 0.0, 1.0]),
            400,
        ),
        accuracy=(
            AccuracyFinding(
                "SRCC",
                ("a", "b", "c", "d"),
                metrics[:4],
                (60.0, 70.0, 75.0, 80.0),
                (0.6, 0.7, 0.65, 0.8),
                0.8,
                0.33,
                (-0.1, 1.0),
                "",
            ),
        ),
        outliers=(
            OutlierFinding(
                metrics[0],
                "|residual| > 2",
                7,
                96,
                {called("type0", "type0"): (6, 32), "type1": (1, 32)},
                tests,
                within,
                worst,
            ),
        ),
        gallery=gallery,
        skipped=(Skipped(called("skipped", "pieapp"), called("reason", "needs piq")),),
        missing=(Problem(called("missing", "gone.png"), "is not there"),),
        folder=Path("/data/made_up"),
    )


def write_html(study: Study) -> str:
    return render_html(study_report(study))


def write_markdown(study: Study) -> str:
    return render_markdown(study_report(study))


@pytest.fixture(scope="module")
def study() -> Study:
    return full_study()


@pytest.fixture(scope="module")
def hostile() -> Study:
    keys = (
        *("near", "psnr", "poor", "image4", "image9", "type0", "type1"),
        *("title", "command", "factor0", "blocks.0", "skipped", "reason", "missing"),
    )
    return full_study({key: HOSTILE[place % len(HOSTILE)] + f" {key}" for place, key in enumerate(keys)})


class Reader(HTMLParser):
    """Elements, attributes, texts and tables of a page; refuses what is not balanced."""

    VOID = frozenset({"meta", "img", "wbr", "br", "link", "input"})

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.tables: dict[str, list[list[tuple[str, dict[str, str | None]]]]] = {}
        self._cell: list[str] | None = None
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self._rows = self.tables.setdefault(str(dict(attrs).get("id")).removesuffix("-table"), [])
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("th", "td"):
            self._cell, self._attributes = [], dict(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())
        if tag in ("th", "td"):
            self._rows[-1].append(("".join(self._cell or []), self._attributes))
            self._cell = None

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._cell is not None and "svg" not in self.open:
            self._cell.append(data)

    def values(self, table: str) -> list[list[float | None]]:
        """What the cells of a table's body are sorted by."""
        return [
            [None if cell[1].get("data-v") is None else float(str(cell[1]["data-v"])) for cell in row]
            for row in self.tables[table][1:]
        ]

    def words(self, table: str) -> list[list[str]]:
        return [[cell[0] for cell in row] for row in self.tables[table][1:]]


def marked(study: Study) -> list[str]:
    """The metrics, the qualities with an arrow."""
    names = [one.metric for one in study.analysis.agreements]
    qualities = [name for name in names if "psnr" in name or "ssim" in name]
    assert len(qualities) == 2
    return [f"{name}\u00a0↑" if name in qualities else name for name in names]


def three(value: float, digits: int = 3) -> str:
    """A coefficient as the tables print it, written anew."""
    if math.isnan(value):
        return "—"
    text = f"{abs(value):.{digits}f}"
    return ("−" if value < 0 and float(text) else "") + (text[1:] if text[0] == "0" else text)


def same(found: list[float | None], expected: list[float]) -> bool:
    return np.array_equal(np.array(found, dtype=float), np.array(expected, dtype=float), equal_nan=True)


def test_the_page_is_sound_html(study: Study, hostile: Study) -> None:
    for one in (study, hostile):
        page = write_html(one)
        assert page.startswith("<!doctype html>")
        read = Reader(page)
        ids = [str(attributes["id"]) for _, attributes in read.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        for _, attributes in read.elements:
            for name in ("aria-labelledby", "for"):
                assert attributes.get(name, ids[0]) in ids
            if str(attributes.get("href", "")).startswith("#"):
                assert str(attributes["href"])[1:] in ids
        for rows in read.tables.values():
            assert len({len(row) for row in rows}) == 1
            assert all(attributes.get("scope") == "col" for _, attributes in rows[0])
            assert all(row[0][1].get("scope") == "row" for row in rows[1:])
        assert sum(tag == "caption" for tag, _ in read.elements) == len(read.tables)
        assert all(attributes.get("alt") for tag, attributes in read.elements if tag == "img")
        for tag, attributes in read.elements:
            if tag == "svg":
                assert attributes.get("aria-hidden") == "true" or attributes.get("role") == "img"


def test_the_page_asks_for_nothing_from_outside(study: Study) -> None:
    page = write_html(study)
    assert "://" not in page
    assert "@import" not in page
    assert "url(" not in page
    for _, attributes in Reader(page).elements:
        assert str(attributes.get("src", "data:")).startswith("data:image/webp;base64,"[:5])
        assert str(attributes.get("href", "#"))[0] == "#"


def test_names_are_text_and_nothing_else(study: Study, hostile: Study) -> None:
    page = write_html(hostile)
    plain, read = Reader(write_html(study)), Reader(page)
    # The same elements with the same kinds of attributes as with harmless names, but for breaks within names.
    shape = [[(tag, *sorted(attributes)) for tag, attributes in one.elements if tag != "wbr"] for one in (plain, read)]
    assert shape[0].count(("script",)) == shape[1].count(("script",)) == 1
    assert {kind for kind in shape[1] if kind[0] in ("script", "img", "a")} == {
        kind for kind in shape[0] if kind[0] in ("script", "img", "a")
    }
    assert not any(name.startswith("on") for _, attributes in read.elements for name in attributes)
    text = "".join(read.texts)
    for name in (hostile.title, hostile.command, hostile.skipped[0].name, hostile.missing[0].name):
        assert name in text
    assert [row[0] for row in read.words("agreement")] == marked(hostile)


def test_a_name_that_is_no_unicode_can_be_written(study: Study, tmp_path: Path) -> None:
    odd = replace(study, missing=(Problem("caf\udce9.png", "is not there"),))
    for name, page in (("page.html", write_html(odd)), ("page.md", write_markdown(odd))):
        (tmp_path / name).write_text(page, encoding="utf-8")
        assert "caf" in page


def test_the_answer_comes_first(study: Study) -> None:
    text = " ".join("".join(Reader(write_html(study)).texts).split())
    best, second = study.analysis.agreements[:2]
    low, high = best.intervals["srcc"]
    comparison = study.analysis.comparison
    assert comparison is not None
    assert best.metric == "near"
    at = comparison.metrics.index(best.metric), comparison.metrics.index(second.metric)
    answer = [
        f"near agrees best with people, at an SRCC of {three(best.srcc)}",
        f"SRCC {three(best.srcc)}, 95 % interval [{three(low)}, {three(high)}]",
        f"+{three(best.srcc - second.srcc)} over the next, {second.metric}, 95 % interval "
        f"[{three(comparison.low[at])}, {three(comparison.high[at])}]",
        f"{4 - len(study.analysis.ties())} of 4 others, beyond chance",
        "96 images of 8 references, 3 types of distortion",
        "A higher opinion is better, as was said",
    ]
    places = [text.index(part) for part in answer]
    assert places == sorted(places)
    assert places[-1] < text.index("SRCC and KRCC compare ranks")


def test_metrics_that_are_not_settled_are_named() -> None:
    table = made_up_table()
    rng = np.random.default_rng(5)
    table = replace(
        table, scores={"one": table.opinion + rng.normal(size=96), "two": table.opinion + rng.normal(size=96)}
    )
    found = analyse(table, "better", ["one", "two"], resamples=60)
    assert found.ties() == [found.agreements[1].metric]
    page = write_html(Study("t", "c", table, found))
    best, other = found.agreements[0].metric, found.agreements[1].metric
    assert f"<b>{best}</b> agrees best with people" in page
    assert f"; <b>{other}</b> may be as good." in page
    assert f"0 of 1 other, beyond chance. Not settled against <b>{other}</b>." in page


def test_tables_hold_the_numbers_of_the_study(study: Study) -> None:
    read, found = Reader(write_html(study)), study.analysis
    for row, words, one in zip(read.values("agreement"), read.words("agreement"), found.agreements, strict=True):
        low, high = one.intervals["srcc"]
        expected = [
            one.srcc,
            low,
            one.srcc,
            one.krcc,
            one.plcc,
            one.plcc_raw,
            one.rmse,
            one.outlier_ratio,
            one.within_reference,
        ]
        assert same(row[1:], expected)
        assert [words[k] for k in (1, 4, 5, 6, 9)] == [three(expected[k - 1]) for k in (1, 4, 5, 6, 9)]
        assert words[2] == f"[{three(low)}, {three(high)}]"
        assert words[8] == f"{100 * one.outlier_ratio:.1f}\u00a0%"
    assert [words[0] for words in read.words("agreement")] == marked(study)
    for row, words, one in zip(read.values("types"), read.words("types"), found.agreements, strict=True):
        assert same(row[1:], [one.srcc, *one.by_type.values()])
        assert words[1:] == [three(value) for value in (one.srcc, *one.by_type.values())]
    for row, one in zip(read.values("robustness"), found.agreements, strict=True):
        change = found.robustness["translation"][one.metric]
        assert same(row[1:], [one.srcc, change.srcc, change.sensitivity])
    joined = [(one, k) for one in study.layers for k in range(len(one.taps))]
    for row, (one, k) in zip(read.values("layers"), joined, strict=True):
        assert same(row[1:], [k, one.srcc[k], one.low[k]])
    for row, one in zip(read.values("attacks"), study.attacks, strict=True):
        assert same(row[3:], [one.epsilon, one.change, one.noise, one.change, one.psnr, one.n])
    for row, metric in zip(
        read.values("attacks-strongest"), dict.fromkeys(a.metric for a in study.attacks), strict=True
    ):
        mine = [one for one in study.attacks if one.metric == metric and one.epsilon == 4.0]
        worst = max(mine, key=lambda one: abs(one.change))
        assert same(row[1:], [*(one.change for one in mine), worst.noise, worst.change])
    for row, one in zip(read.values("loss-suitability"), study.loss_suitability, strict=True):
        assert same(row[1:], [one.finite_gradient, one.identity, one.symmetry, one.monotone])
    for row, one in zip(read.values("cost"), study.cost, strict=True):
        assert same(row[1:], [one.seconds_per_megapixel, one.seconds_per_megapixel, one.parameters])
    tests = (*study.outliers[0].pooled, *study.outliers[0].stratified)
    for row, words, test in zip(read.values("outlier-tests-0"), read.words("outlier-tests-0"), tests, strict=True):
        assert same(row[3:8], [test.effect, test.p, test.p_holm, test.outliers, test.inliers])
        assert words[2] == ("within types" if test.strata else "all")
    assert [row[1:4] for row in read.values("outlier-types-0")] == [[6, 32, 6 / 32], [1, 32, 1 / 32]]


def test_qualities_are_known_and_marked(study: Study) -> None:
    said = analyse(made_up_table(), "better", ["psnr", "ssim"], resamples=2)
    seen = analyse(made_up_table(), "better", resamples=2)
    assert said.higher_is_better == seen.higher_is_better == ("psnr", "ssim")
    none = analyse(replace(made_up_table(), scores={"near": made_up_table().scores["near"]}), "better", resamples=2)
    assert none.higher_is_better == ()
    assert "↑ marks metrics" in write_html(study)
    plain = write_markdown(Study("t", "c", replace(made_up_table(), scores={"near": np.ones(96)}), none))
    assert "↑" not in plain


def test_notes_on_a_fit_that_is_not_shown_are_left_out(study: Study) -> None:
    first, *others = study.analysis.agreements
    noted = replace(first, notes=("fit with 5 parameters: turns around", "type 'x' has fewer than 3 distinct values"))
    odd = replace(study, analysis=replace(study.analysis, agreements=[noted, *others]))
    for page in (write_html(odd), write_markdown(odd)):
        assert "5 parameters" not in page
        assert "has fewer than 3 distinct values" in page
    assert odd.analysis.rows()[0]["notes"].startswith("fit with 5 parameters: turns around; type")


def test_what_limits_all_findings_on_accuracy_is_said_once(study: Study) -> None:
    (one,) = study.accuracy
    same_words = (
        replace(one, note="4 backbones; left out: psnr, ssim"),
        replace(one, what="worth", note="4 backbones; left out: ssim, psnr"),
    )
    text = " ".join("".join(Reader(write_html(replace(study, accuracy=same_words))).texts).split())
    assert text.count("left out: ") == 1
    assert text.index("Worth is not shown to go") < text.index("4 backbones; left out: psnr, ssim. ")
    others = (same_words[0], replace(same_words[1], note="3 backbones"))
    text = "".join(Reader(write_html(replace(study, accuracy=others))).texts)
    assert "SRCC: 4 backbones; left out: psnr, ssim." in text
    assert "worth: 3 backbones." in text


def test_who_beats_whom(study: Study) -> None:
    read, comparison = Reader(write_html(study)), study.analysis.comparison
    assert comparison is not None
    order = [comparison.metrics.index(one.metric) for one in study.analysis.agreements]
    beats = comparison.beats[np.ix_(order, order)]
    assert {1, 0, -1} == set(beats.ravel().tolist())
    signs = {1: "+", 0: "·", -1: "−"}
    for place, (words, values) in enumerate(zip(read.words("beats"), read.values("beats"), strict=True)):
        assert words[0] == f"{place + 1}. {study.analysis.agreements[place].metric}"
        assert words[4:] == ["" if k == place else signs[int(beats[place, k])] for k in range(5)]
        assert values[1:4] == [(beats[place] == 1).sum(), (beats[place] == 0).sum() - 1, (beats[place] == -1).sum()]
    heads = [attributes.get("aria-label") for _, attributes in read.tables["beats"][0]]
    assert heads[4:] == [one.metric for one in study.analysis.agreements]


def test_desirability_is_ranked_by_group(study: Study) -> None:
    read, found = Reader(write_html(study)), study.desirability
    assert found is not None
    rows, apart = read.values("desirability-0"), read.values("desirability-1")
    assert (len(rows), len(apart)) == (4, 1)
    for place, row in enumerate([*rows, *apart]):
        expected = [found.rank[place], found.aggregate[place], found.rank_interval[place, 0], found.first_share[place]]
        owned = ~np.isnan(found.values[place])
        assert same(row[1:], [*expected, found.without[place][owned].max(), *found.values[place]])
    assert read.words("desirability-1")[0][-1] == "—"
    text = "".join(read.texts)
    assert "The formula is ours" in text
    assert "comes first at .900. Under 400 random weights it is first in 62.5\u00a0% and holds places 1–2" in text


def test_outliers_are_told_in_words(study: Study) -> None:
    text = "".join(Reader(write_html(study)).texts).replace("\u00a0", " ")
    assert "near: 7 outliers in 96 images (7.3 %; |residual| > 2). Most often of type type0: 6 of 32." in text
    assert (
        "more high-frequency energy in the reference than other images (effect .710, p < .001), and so within types "
        "(effect .680, p < .001): types do not explain it" in text
    )
    assert "in the image under test than other images (effect .660, p = .003), but not so within types" in text
    assert "difference of both than other images" not in text


def test_depth_is_told_in_words(study: Study) -> None:
    text = "".join(Reader(write_html(study)).texts)
    assert "in 1 of 1 metric the best tap lies before the last one" in text
    assert "All taps joined beat the last tap alone, beyond chance, in 1 of 2; it cannot be told in 1." in text


def test_what_is_not_there_is_said() -> None:
    table = replace(made_up_table(), type=None, changed={})
    table = replace(table, scores={"near": table.scores["near"]})
    page = write_html(Study("t", "c", table, analyse(table, "better", resamples=20)))
    read = Reader(page)
    text = "".join(read.texts)
    assert "near agrees with people at an SRCC of" in text
    assert "Not available: the table has no types." in text
    assert "Not in this report, as not asked for or not to be told from the inputs: agreement against depth" in text
    assert set(read.tables) == {"agreement"}
    for name in ("attacks", "beats", "layers", "gallery"):
        assert f'id="{name}"' not in page


def test_metrics_without_numbers_do_not_break_the_page() -> None:
    table = made_up_table()
    broken = table.scores["near"].copy()
    broken[3] = np.nan
    table = replace(table, scores={"hole": broken, "flat": np.ones(96), "next": table.scores["next"]}, changed={})
    found = analyse(table, "better", [], resamples=20)
    data = scatter_data(Study("t", "c", table, found))
    by_name = {one["name"]: one for one in data["metrics"]}
    assert by_name["hole"]["scores"][3] is None
    assert "1 image without a score. No curve: " in by_name["hole"]["words"]
    assert by_name["flat"]["curve"] == []
    read = Reader(write_html(Study("t", "c", table, found)))
    assert read.words("agreement")[0][0] == "next"
    assert read.words("agreement")[1][1] == "—"
    nothing = replace(table, scores={"flat": np.ones(96)})
    text = "".join(Reader(write_html(Study("t", "c", nothing, analyse(nothing, "better", resamples=20)))).texts)
    assert "No metric could be ranked" in text


@pytest.mark.parametrize(("opinion_sign", "opinion_is"), [(1.0, "better"), (-1.0, "worse")])
def test_the_drawing_holds_scores_and_curve_in_their_own_units(opinion_sign: float, opinion_is: Any) -> None:
    table = made_up_table(opinion_sign=opinion_sign)
    found = analyse(table, opinion_is, ["psnr", "ssim"], resamples=20)
    data = scatter_data(Study("t", "c", table, found))
    np.testing.assert_allclose(data["opinions"], table.opinion, rtol=1e-4)
    assert data["names"] == table.image.tolist()
    assert [data["types"][k] for k in data["typeOf"]] == table.type.tolist()  # type: ignore[union-attr]
    assert [one["name"] for one in data["metrics"]] == [one.metric for one in found.agreements]
    for drawn, one in zip(data["metrics"], found.agreements, strict=True):
        scores = table.scores[one.metric]
        np.testing.assert_allclose(drawn["scores"], scores, rtol=1e-3)
        assert drawn["outliers"] == np.flatnonzero(one.outliers.outlying).tolist()
        # Residuals are of turned opinions: their size is that of opinions as they are, from the curve as it is drawn.
        off = np.abs(table.opinion - np.interp(scores, *drawn["curve"]))
        np.testing.assert_allclose(off, np.abs(one.fit.residuals), atol=0.02)


def test_many_images_are_thinned_and_it_is_said(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Drawn are" not in write_html(study)
    table = made_up_table()
    wide = ScoredTable(
        {name: np.tile(values, 5) + np.arange(480) * 1e-6 for name, values in table.scores.items()},
        {},
        np.tile(table.opinion, 5),
        np.tile(table.reference, 5),
        np.arange(480).astype(str),
        None,
    )
    monkeypatch.setattr(scatter, "MOST_SCORES", 5 * 240)
    big = Study("t", "c", wide, analyse(wide, "better", ["psnr", "ssim"], resamples=20))
    assert "Drawn are 240 of 480 images, evenly chosen" in write_html(big)
    data = scatter_data(big)
    rows = [int(name) for name in data["names"]]
    assert (rows[0], rows[-1], len(set(rows))) == (0, 479, 240)
    assert max(np.diff(rows)) <= 3
    np.testing.assert_allclose(data["metrics"][0]["scores"], wide.scores[data["metrics"][0]["name"]][rows], rtol=1e-3)


@pytest.mark.slow
def test_the_page_of_a_large_database_stays_small() -> None:
    table, found = tid2013()
    assert (len(table.scores), len(table.opinion)) == (42, 3000)
    page = write_html(Study("TID2013", "c", table, found))
    assert len(page.encode()) < 3_000_000
    assert "<b>fsim</b> agrees best with people, at an SRCC of .851" in page


def uris(page: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/webp;base64,([^"]+)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in found]


def test_the_gallery_shows_the_pictures_as_they_are(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    page = write_html(study)
    shown = uris(page)
    first, second = study.gallery
    for picture, expected in zip(
        shown, (first.reference, first.distorted, second.reference, second.distorted), strict=False
    ):
        np.testing.assert_array_equal(picture, expected)
    assert second.heat is not None
    # Brighter where the metric sees more: plasma's luminance rises.
    luminance = shown[4] @ np.array([0.2126, 0.7152, 0.0722])
    assert np.corrcoef(luminance.ravel(), second.heat.ravel())[0, 1] > 0.98
    text = "".join(Reader(page).texts)
    assert "People like it better than the metric does: opinion 3.25, predicted 1.50 (z +3.3)" in " ".join(text.split())
    assert "compressed" not in page
    monkeypatch.setattr(pictures, "MOST_BYTES", 1000)
    small = write_html(study)
    assert "the pictures are compressed" in small
    assert len(small) < len(page)


def test_maps_that_cannot_be_shown_are_refused(study: Study) -> None:
    item = study.gallery[1]
    with pytest.raises(ValueError, match="has values that are not finite"):
        write_html(replace(study, gallery=(replace(item, heat=np.full((4, 4), np.nan, np.float32)),)))


def test_markdown_has_the_same_findings(study: Study, hostile: Study) -> None:
    page = write_markdown(study)
    heads = [line for line in page.splitlines() if line.startswith("## ")]
    assert [head[3:] for head in heads] == [
        "Agreement",
        "Who beats whom",
        "By type of distortion",
        "Against depth",
        "Slight changes",
        "Under attack",
        "All together",
        "Against ImageNet accuracy",
        "Misjudged images",
        "As a loss",
        "Cost",
        "How this was made",
    ]
    best = study.analysis.agreements[0]
    four = [three(value, 4) for value in (best.srcc, *best.intervals["srcc"], best.krcc, best.plcc, best.plcc_raw)]
    assert "| {} | {} | [{}, {}] | {} | {} | {} |".format(best.metric, *four) in page
    assert f"| {best.metric} | {' | '.join(three(v, 4) for v in (best.srcc, *best.by_type.values()))} |" in page
    assert "- `pieapp`: needs piq" in page
    assert "The formula is ours" in page
    for one in (page, write_markdown(hostile)):
        widths = []
        for line in one.splitlines():
            bars = len(re.findall(r"(?<!\\)\|", line))
            if line.startswith("| "):
                widths.append(bars)
            elif widths:
                assert len(set(widths)) == 1
                widths = []
        # Outside of code no `<` opens a tag.
        assert not re.search(r"(?<!\\)<(?![\u00a0 ])", re.sub(r"(`+).+?\1", "", one))


@pytest.fixture
def page(study: Study, tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(write_html(study), encoding="utf-8")
    return path


def quiet(browser: Browser, path: Path) -> None:
    """Nothing went wrong, and nothing was asked for but the page and data."""
    assert browser.problems == []
    assert {one for one in browser.requests if not one.startswith("data:")} == {path.resolve().as_uri()}


def test_the_page_fits_and_is_quiet_in_a_browser(browser: Browser, page: Path, hostile: Study) -> None:
    odd = page.with_name("hostile.html")
    odd.write_text(write_html(hostile), encoding="utf-8")
    for path in (page, odd):
        for width in (360, 800, 1280, 1600):
            browser.open(path, width=width)
            assert browser.evaluate("innerWidth") == width
            assert browser.evaluate("document.documentElement.scrollWidth") == width
            browser.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            assert browser.evaluate("document.documentElement.scrollWidth") == width
            assert browser.evaluate("typeof boom") == "undefined"
            quiet(browser, path)
    browser.open(page, width=390)
    # what is cut off shows: a shade that stays at the edge, under a cover that scrolls away
    assert browser.evaluate("Math.max(...[...document.querySelectorAll('.scroll')].map(b => b.scrollWidth))") > 390
    assert (
        browser.evaluate("getComputedStyle(document.querySelector('.scroll')).backgroundAttachment") == "local, scroll"
    )
    # letters are larger there, and stay apart
    boxes = browser.evaluate(
        "[...document.querySelectorAll('#scatter-label, #scatter-ticks text')].map((one) => "
        "{ const box = one.getBoundingClientRect(); return [box.top, box.bottom]; })"
    )
    below, *ticks = sorted(boxes, reverse=True)
    assert ticks
    assert max(bottom for _, bottom in ticks) <= below[0] + 1
    # pictures far down are there for a printer too
    assert browser.evaluate("[...document.images].every((one) => one.complete && one.naturalWidth > 0)")


#: Where the backbones lie whose names hid each other on TID2013 and LIVE, and a crowd.
CROWDS = {
    "tid2013": (
        ("clip-rn50", "clip-vit-b32", "openclip-convnext-b", "vgg16", "dino-vit-b16", "vit-b16", "dinov2-vit-b14"),
        (59.82, 63.32, 70.78, 71.59, 78.20, 81.78, 84.50),
        (0.687, 0.747, 0.604, 0.780, 0.792, 0.757, 0.727),
    ),
    "live": (
        ("openclip-convnext-b", "vgg16", "dino-vit-b16", "vit-b16"),
        (70.78, 71.59, 78.20, 81.78),
        (0.9485, 0.9477, 0.9650, 0.9611),
    ),
    "one_spot": (tuple(f"a-backbone-{k:02}" for k in range(15)), (70.0,) * 15, (0.8,) * 15),
    "wide_letters": (tuple("WMWMWM" + "@" * k for k in range(8)), tuple(range(60, 84, 3)), (0.8, 0.81) * 4),
}


def labels_of(drawing: str) -> list[tuple[float, float, str, str]]:
    found = re.findall(r'<text class="soft name" x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)">([^<]*)<', drawing)
    return [(float(x), float(y), anchor, name) for x, y, anchor, name in found]


def test_names_beside_points_are_all_written_where_there_is_room() -> None:
    for crowd in ("tid2013", "live"):
        names, xs, ys = CROWDS[crowd]
        assert {name for *_, name in labels_of(named_points("t", names, xs, ys, "top-1"))} == set(names)
    # The right side comes first, and the left where the right is at the end of the drawing.
    drawn = {name: (x, y, anchor) for x, y, anchor, name in labels_of(named_points("t", "ab", (0, 1), (0, 1), "x"))}
    assert drawn["a"][2] == drawn["b"][2] == "start"
    long = "a" * 20
    assert [one[2] for one in labels_of(named_points("t", ("a", long), (0, 1), (0, 1), "x"))] == ["start", "end"]
    # Of names on one spot those without room are told on hover.
    names, xs, ys = CROWDS["one_spot"]
    drawing = named_points("t", names, xs, ys, "x")
    assert len(labels_of(drawing)) == 4
    assert all(f"<title>{name}: " in drawing for name in names)


@pytest.mark.parametrize("crowd", CROWDS)
def test_no_name_hides_another_or_a_point(browser: Browser, page: Path, crowd: str) -> None:
    """As the browser's own fonts have them."""
    names, xs, ys = CROWDS[crowd]
    old = page.read_text(encoding="utf-8")
    at = old.index('<svg class="chart"', old.index('id="accuracy"'))
    end = old.index("</svg>", at) + len("</svg>")
    page.write_text(old[:at] + str(named_points("t", names, xs, ys, "top-1")) + old[end:], encoding="utf-8")
    browser.open(page)
    boxes = browser.evaluate(
        "[...document.querySelectorAll('#accuracy svg :is(.name, .dot)')].map((one) => "
        "{ const box = one.getBBox(); return [one.tagName, box.x, box.y, box.x + box.width, box.y + box.height]; })"
    )
    labels = [box[1:] for box in boxes if box[0] == "text"]
    dots = [box[1:] for box in boxes if box[0] == "circle"]
    assert len(dots) == len(names)
    # A line is as high as its letters: leave out the leading.
    labels = [(x0, y0 + 1, x1, y1 - 1) for x0, y0, x1, y1 in labels]
    for place, (x0, y0, x1, y1) in enumerate(labels):
        assert x0 >= 0
        assert x1 <= 720
        for u0, v0, u1, v1 in labels[:place] + dots:
            assert x1 <= u0 or u1 <= x0 or y1 <= v0 or v1 <= y0
    quiet(browser, page)


def test_no_script_runs_but_the_page_s_own(browser: Browser, page: Path) -> None:
    evil = page.with_name("evil.html")
    evil.write_text(
        page.read_text(encoding="utf-8").replace("</main>", "</main><script>window.boom = 1</script>"), "utf-8"
    )
    browser.open(evil)
    assert browser.evaluate("typeof boom") == "undefined"
    assert browser.evaluate("typeof document.querySelector('thead button')") == "object"
    assert any("Content Security Policy" in one for one in browser.problems)


def test_tables_sort(browser: Browser, page: Path, study: Study) -> None:
    browser.open(page)
    names = "[...document.querySelectorAll('#desirability-0-table tbody th')].map((one) => one.textContent)"
    head = "document.querySelectorAll('#desirability-0-table thead th')"
    assert study.desirability is not None
    metrics, factor = list(study.desirability.metrics[:4]), study.desirability.values[:4, 0]
    falling = [metrics[place] for place in np.argsort(-factor)]
    assert falling not in (metrics, metrics[::-1])
    assert browser.evaluate(names) == metrics
    browser.evaluate(f"{head}[6].querySelector('button').click()")
    assert browser.evaluate(names) == falling
    assert browser.evaluate(f"{head}[6].getAttribute('aria-sort')") == "descending"
    browser.evaluate(f"{head}[6].querySelector('button').click()")
    assert browser.evaluate(names) == falling[::-1]
    browser.evaluate(f"{head}[0].querySelector('button').click()")
    assert browser.evaluate(names) == sorted(metrics)
    assert browser.evaluate(f"[...{head}].filter((one) => one.hasAttribute('aria-sort')).length") == 1
    # What is not known comes last, whichever way.
    unknown = "[...document.querySelectorAll('#layers-table tbody tr')].map((row) => row.cells[2].textContent)"
    for _ in range(2):
        browser.evaluate("document.querySelectorAll('#layers-table thead th')[2].querySelector('button').click()")
        assert browser.evaluate(unknown)[-1] == "—"
    quiet(browser, page)


def test_the_drawing_switches_between_metrics(browser: Browser, page: Path, study: Study) -> None:
    browser.open(page)
    path = "document.getElementById('scatter-{}').getAttribute('d')"
    before = {name: browser.evaluate(path.format(name)) for name in ("points", "outliers", "curve")}
    choose = "(() => {{ const box = document.getElementById('scatter-{}'); box.value = '{}'; "
    choose += "box.dispatchEvent(new Event('change')); }})()"
    # What the script draws of the best metric is what the page came with.
    browser.evaluate(choose.format("metric", 0))
    for name, drawn in before.items():
        assert browser.evaluate(path.format(name)) == drawn
    browser.evaluate(choose.format("metric", 2))
    third = study.analysis.agreements[2]
    after = browser.evaluate(path.format("points"))
    assert after != before["points"]
    data = scatter_data(study)
    x0, x1, y0, y1 = data["box"]
    (left, right), (bottom, top) = data["metrics"][2]["range"], data["opinionRange"]
    xs = x0 + (np.array(data["metrics"][2]["scores"]) - left) / (right - left) * (x1 - x0)
    ys = y0 + (np.array(data["opinions"]) - bottom) / (top - bottom) * (y1 - y0)
    dots = np.array(re.findall(r"M([\d.-]+) ([\d.-]+)h0", after), dtype=float)
    np.testing.assert_allclose(dots, np.stack([xs, ys], 1), atol=0.051)
    assert browser.evaluate("document.getElementById('scatter-words').textContent").startswith(f"{third.metric}: SRCC")
    assert third.metric in browser.evaluate("document.getElementById('scatter-label').textContent")
    assert browser.evaluate(path.format("outliers")).count("M") == int(third.outliers.outlying.sum())
    browser.evaluate(choose.format("kind", 1))
    assert browser.evaluate(path.format("type")).count("M") == int((study.table.type == "type1").sum())
    quiet(browser, page)


def test_dots_tell_which_image_they_are(browser: Browser, page: Path, study: Study) -> None:
    browser.open(page)
    said = "document.getElementById('scatter-readout').textContent"
    press = "document.getElementById('scatter-svg').dispatchEvent(new KeyboardEvent('keydown', {{key: '{}'}}))"
    scores = study.table.scores[study.analysis.agreements[0].metric]
    order = np.argsort(scores, kind="stable")
    for key, row in (("End", order[0]), ("ArrowRight", order[1]), ("ArrowRight", order[2]), ("End", order[-1])):
        browser.evaluate(press.format(key))
        told = browser.evaluate(said)
        assert told.startswith(f"{study.table.image[row]} · reference {study.table.reference[row]} · type ")
        assert f"opinion {study.table.opinion[row]:.5g}".rstrip("0") in told
    spot = browser.evaluate(
        "(() => { const svg = document.getElementById('scatter-svg'); svg.scrollIntoView({block: 'center'}); "
        "const [, x, y] = document.getElementById('scatter-points').getAttribute('d').match(/M([\\d.]+) ([\\d.]+)h0/); "
        "const at = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM()); return [at.x, at.y]; })()"
    )
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=spot[0], y=spot[1])
    assert browser.evaluate(said).startswith(str(study.table.image[0]))
    quiet(browser, page)


def test_without_scripts_the_page_still_tells_all(browser: Browser, page: Path) -> None:
    browser.open(page, scripts=False)
    node = browser.send("DOM.getDocument")["root"]["nodeId"]

    def html(selector: str) -> str:
        found = browser.send("DOM.querySelector", nodeId=node, selector=selector)["nodeId"]
        return str(browser.send("DOM.getOuterHTML", nodeId=found)["outerHTML"])

    assert "hidden" in html("#scatter-form").split(">")[0]
    assert html("#scatter-points").count("h0") == 96
    assert html("#scatter-curve").count("L") == 60
    assert "<button" not in html("#agreement-table")
    quiet(browser, page)


@pytest.mark.parametrize("dark", [False, True])
def test_colours_can_be_read_by_day_and_by_night(browser: Browser, page: Path, dark: bool) -> None:
    browser.open(page, dark=dark)

    def light(colour: str) -> float:
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        return sum(weight * v for weight, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    read = "getComputedStyle(document.documentElement).getPropertyValue('--{}').trim()"
    tone = {name: light(browser.evaluate(read.format(name))) for name in ("paper", "ink", "soft", "accent", "room")}

    def contrast(one: float, other: float) -> float:
        return (max(one, other) + 0.05) / (min(one, other) + 0.05)

    assert (tone["paper"] < tone["ink"]) == dark
    for text, ground in (("ink", "paper"), ("soft", "paper"), ("accent", "paper"), ("ink", "room"), ("soft", "room")):
        assert contrast(tone[text], tone[ground]) >= 4.5, (text, ground)
    # The deepest shade of a cell is half the accent.
    mixed = browser.evaluate(
        "(() => { const cell = document.querySelector('td.shade'); cell.style.setProperty('--v', '100%'); "
        "return getComputedStyle(cell).backgroundColor; })()"
    )
    assert mixed.rstrip(")").endswith("0.5"), mixed
    accent, paper = (browser.evaluate(read.format(name)) for name in ("accent", "paper"))
    halves = [round((int(accent[k : k + 2], 16) + int(paper[k : k + 2], 16)) / 2) for k in (1, 3, 5)]
    assert contrast(tone["ink"], light("#" + "".join(f"{v:02x}" for v in halves))) >= 4.5
    quiet(browser, page)
