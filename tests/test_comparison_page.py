"""The page of a comparison: what it says is what the comparison holds, and its viewer shows what one asks it for."""

from __future__ import annotations

import base64
import io
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.browser import Browser
from tests.test_page import Reader
from torchmetrics_fmiqa.comparison import gallery
from torchmetrics_fmiqa.comparison.comparison import Comparison, LeftOut
from torchmetrics_fmiqa.comparison.marks import best_first, marks
from torchmetrics_fmiqa.comparison.picks import pick_images
from torchmetrics_fmiqa.comparison.plots import plot_differences, plot_plane
from torchmetrics_fmiqa.comparison.report import write_comparison_report
from torchmetrics_fmiqa.comparison.scores import ComparedImage, MethodScores
from torchmetrics_fmiqa.report.svg import named_points
from torchmetrics_fmiqa.statistics.paired import compare_paired

METHODS = ("red", "green", "blue")
METRICS = ("near", "psnr")
COUNT, HEIGHT, WIDTH = 5, 48, 60
HOSTILE = (
    "<script>boom()</script>",
    "\"><img src=x onerror='boom()'> $x$ &amp;",
    "{{ 7 * 7 }} naïve ünï😀 `a|b` " + "long_" * 30,
)


def pixels(method: int | None, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A picture whose colours tell the method (the channel of 255) and the place: 4 a column, 5 a row."""
    across, down = np.meshgrid(np.arange(width) * 4 % 250, np.arange(height) * 5 % 250)
    if method is None:
        return np.stack([across, down, np.full_like(down, 100)], 2).astype(np.uint8)
    return np.roll(np.stack([np.full_like(down, 255), across, down], 2), method, axis=2).astype(np.uint8)


def compared(folder: Path, names: tuple[str, ...] = METHODS, metrics: tuple[str, ...] = METRICS) -> Comparison:
    """A comparison of three methods on made images: the first is the best by both metrics, the others are tied."""
    images = []
    for place in range(COUNT):
        stem = f"scene/image {place}"
        files = {}
        for method, name in enumerate((None, *names)):
            path = folder / f"{method}" / f"{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels(None if name is None else method - 1)).save(path)
            files[name] = path
        images.append(ComparedImage(stem, files.pop(None), files, stem))  # type: ignore[arg-type]
    steps = np.arange(COUNT) / 100
    near = np.stack([0.10 + steps, 0.30 + steps * 1.0001, 0.30 + steps[::-1] * 1.1])
    values = np.stack([near, 40 - 30 * near], 1)
    scores = MethodScores(names, metrics, frozenset(metrics[1:]), tuple(images), values)
    left_out = (LeftOut(names[1], "gone", "missing", "there is no file of this name"),)
    return Comparison(
        scores, statistics_of(scores), COUNT + 1, left_out, {"lpips": "needs weights"}, {"near": "made up"}
    )


def statistics_of(scores: MethodScores) -> Any:
    return compare_paired(scores.values, [name in scores.qualities for name in scores.metrics], resamples=199)


def corner(preds: Tensor, target: Tensor) -> Tensor:
    """A map that is hot at the top left."""
    heat = torch.zeros(1, 1, *preds.shape[2:])
    heat[..., :24, :30] = 1
    return heat


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return compared(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def page(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_comparison_report(comparison, tmp_path_factory.mktemp("page"), command="fmiqa compare", heat=corner)[0]


def words(page: Path) -> str:
    """The page's text."""
    import html

    body = page.read_text(encoding="utf-8").split("<body>")[1].split("<script>")[0]
    text = html.unescape(re.sub(r"<[^>]*>", " ", body.replace("<wbr>", "")))
    return " ".join(text.split())


def test_the_answer_comes_first_and_then_what_backs_it(comparison: Comparison, page: Path) -> None:
    text = words(page)
    parts = [
        " ".join(comparison.answer.split()),
        "near −.2000 in the mean",
        "better on 100.0 % of the images; red is better",
        "5 of 6 references: those that all methods have",
        "1 missing",
        "≈ marks what is tied with the best",
        "differ most by near",
        "Better is to the right and below",
        "By near, 2 of 3 pairs are settled",
        "psnr ↑: 2 of 3 pairs are settled",
        "scene/image 0: .200",
        "red against green: better on 100.0 % of 5 images. Highest +.2000, lowest +.2000",
        "No two metrics settle a pair in opposite ways",
        "there is no file of this name",
        "needs weights",
        "made up",
        "fmiqa compare",
    ]
    plain = re.sub(r" ([,;:]|\.(?= ))", r"\1", text)
    assert [part for part in parts if part not in plain] == []
    places = [plain.index(part) for part in parts]
    assert places[:6] == sorted(places[:6])
    assert "green − blue" in plain
    row = plain[plain.index("green − blue") :]
    assert row[: row.index("tied") + 4].count("is better") == 0


def test_the_page_is_sound_html(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    read = Reader(text)  # refuses what is not balanced
    ids = [str(attributes["id"]) for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in read.elements:
        for name in ("aria-labelledby", "aria-describedby", "for"):
            assert attributes.get(name, ids[0]) in ids
        if str(attributes.get("href", "")).startswith("#"):
            assert str(attributes["href"])[1:] in ids
    assert all("alt" in attributes for tag, attributes in read.elements if tag == "img")
    assert "://" not in text
    assert "url(" not in text


def test_the_best_is_bold_the_second_underlined_and_ties_are_marked(comparison: Comparison, page: Path) -> None:
    values = comparison.scores.values.copy()
    values[1] = values[0] + [[[0.001], [-0.001]]] * (-1) ** np.arange(COUNT) + [[[0.0001], [-0.0001]]]
    scores = replace(comparison.scores, values=values)
    tied = replace(comparison, scores=scores, statistics=statistics_of(scores))
    assert tied.statistics.settled[0, 1].tolist() == [0, 0]
    text = write_comparison_report(tied, page.parent / "tied")[0].read_text(encoding="utf-8")
    table = text[text.index('id="scores-table"') : text.index("</table>")]
    rows = re.findall(r"<tr.*?</tr>", table[table.index("<tbody>") :], re.S)
    assert [re.search(r'scope="row"[^>]*>([^<]*)<', row)[1] for row in rows] == ["red", "green", "blue"]  # type: ignore[index]
    assert rows[0].count('class="best"') == 1 + len(METRICS)
    assert rows[1].count('class="second tied"') == len(METRICS)
    assert [row.count("tied with the best") for row in rows] == [0, len(METRICS), 0]


def test_where_metrics_contradict_each_other_is_said(comparison: Comparison, tmp_path: Path) -> None:
    values = comparison.scores.values.copy()
    values[:, 1] = values[::-1, 1]
    scores = replace(comparison.scores, values=values)
    text = words(
        write_comparison_report(replace(comparison, scores=scores, statistics=statistics_of(scores)), tmp_path)[0]
    )
    assert "red is better than blue by near , and worse by psnr" in text


def test_of_many_images_a_summary_comes_first(comparison: Comparison, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0.5, 0.1, size=(3, 2, 300)) + np.array([0.0, 0.02, 0.3])[:, None, None]
    images = tuple(replace(comparison.scores.images[k % COUNT], name=f"{k}") for k in range(300))
    scores = replace(comparison.scores, values=values, images=images)
    path = write_comparison_report(replace(comparison, scores=scores, statistics=statistics_of(scores)), tmp_path)[0]
    text = words(path)
    assert re.search(r"of 300 images; median [+−.\d]+, half of the images between [+−.\d]+ and [+−.\d]+", text)
    assert "200 quantiles of the images" in text
    drawn = path.read_text(encoding="utf-8")
    first = drawn[drawn.index('id="images"') :]
    assert len(re.findall('class="(?:won|lost)"', first[: first.index("</svg>")])) == 200


def test_images_are_chosen_once_each_and_for_a_reason(comparison: Comparison) -> None:
    rng = np.random.default_rng(1)
    values = rng.uniform(size=(3, 2, 60))
    values[1, 0, 7] = 5.0  # where green is far off: it differs most there, and would be green's worst
    values[2, 0, 9] = np.nan
    images = tuple(replace(comparison.scores.images[0], name=f"{k}") for k in range(60))
    scores = replace(comparison.scores, values=values, images=images)
    picks = pick_images(scores)
    assert [picks[0].place, picks[0].kind] == [7, "The methods differ most"]
    assert len({pick.place for pick in picks}) == len(picks) == 6 + 3 * 2 + 4
    kinds = [pick.kind for pick in picks]
    assert kinds[:5] == ["The methods differ most", *(f"{name} does worst" for name in METHODS), "At random"]
    worst = next(pick for pick in picks if pick.kind == "green does worst")
    rest = np.delete(values[1, 0], [7, 9])
    assert values[1, 0, worst.place] == rest.max()
    assert all(pick.place != 9 for pick in picks if pick.kind != "At random")
    assert pick_images(scores) == picks
    assert {pick.place for pick in pick_images(scores, seed=1)} != {pick.place for pick in picks}


def embedded(page: Path) -> list[np.ndarray]:
    found = re.findall(r'<img src="data:image/webp;base64,([^"]+)"', page.read_text(encoding="utf-8"))
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in found]


def test_pictures_are_the_images_own_pixels(page: Path) -> None:
    shown = embedded(page)
    assert len(shown) == 4 * COUNT
    for place, picture in enumerate(shown):
        np.testing.assert_array_equal(picture, pixels((place % 4) - 1 if place % 4 else None))


def test_of_a_large_image_the_part_is_shown_in_which_the_methods_differ(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 255, size=(200, 300, 3), dtype=np.uint8)
    changed = target.copy()
    changed[130:160, 200:240] ^= 255
    image = comparison.scores.images[0]
    for path, content in ((image.target, target), *((path, target) for path in image.preds.values())):
        Image.fromarray(content).save(tmp_path / f"{path.parent.name}.png")
    Image.fromarray(changed).save(tmp_path / "2.png")
    files = {name: tmp_path / f"{k + 1}.png" for k, name in enumerate(METHODS)}
    scores = replace(
        comparison.scores,
        images=(replace(image, target=tmp_path / "0.png", preds=files),),
        values=comparison.scores.values[:, :, :1],
    )
    monkeypatch.setattr(gallery, "MOST_SIDE", 96)
    found = gallery.make_gallery(scores, (0, 1))
    assert found.viewer is not None
    assert found.viewer.images[0].size == (96, 96)
    assert "Shown are 96 × 96 of 300 × 200 pixels" in "".join(found.viewer.images[0].caption)
    assert "of 1 large one the part in which the methods differ most" in found.note
    parts = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(version.uri.split(",")[1]))))
        for version in found.viewer.images[0].versions
    ]
    assert (parts[0] != parts[2]).any(2).sum() == 30 * 40  # all of the change is in it
    whole = gallery.make_gallery(scores, (0, 1), folder=tmp_path / "page")
    np.testing.assert_array_equal(np.asarray(Image.open(whole.files[2])), changed)


def test_a_page_holds_so_many_bytes_and_says_so(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "MOST_BYTES", 1)
    path = write_comparison_report(comparison, tmp_path)[0]
    assert len(embedded(path)) == 4
    assert f"1 image of {COUNT} that were chosen (--image-files keeps all)" in words(path)


def test_an_image_that_is_gone_is_named(comparison: Comparison, tmp_path: Path) -> None:
    images = (replace(comparison.scores.images[0], target=tmp_path / "gone.png"), *comparison.scores.images[1:])
    found = replace(comparison, scores=replace(comparison.scores, images=images))
    path = write_comparison_report(found, tmp_path)[0]
    assert len(embedded(path)) == 4 * (COUNT - 1)
    assert "Not readable any more (1)" in words(path)
    assert str(tmp_path / "gone.png") in words(path)


def test_what_is_not_known_is_not_made_up(comparison: Comparison, tmp_path: Path) -> None:
    values = comparison.scores.values[:, :, :1].copy()
    values[:, 1] = np.nan
    scores = replace(comparison.scores, values=values, images=comparison.scores.images[:1])
    text = words(
        write_comparison_report(replace(comparison, scores=scores, statistics=statistics_of(scores)), tmp_path)[0]
    )
    assert "red − green −.2000 — — 100.0 % not known" in text
    assert "red .1000 — — — green" in text
    assert "psnr has a score of 0" in text
    assert "Better is to the right" not in text
    assert "near goes from .1000 ( red ) to .3440 ( blue )" in text


def test_equal_images_have_the_best_psnr(comparison: Comparison) -> None:
    assert marks(np.array([np.inf, 30.0, np.nan]), quality=True) == ["best", "second", ""]
    assert best_first(np.array([30.0, np.nan, np.inf]), quality=True) == [2, 0, 1]


def test_the_plane_for_papers_has_means_and_intervals(comparison: Comparison) -> None:
    pytest.importorskip("matplotlib")
    scores, statistics = comparison.scores, comparison.statistics
    ax = plot_plane(scores, statistics)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("psnr (higher is better)", "near (lower is better)")
    points = np.array([[line.lines[0].get_xdata()[0], line.lines[0].get_ydata()[0]] for line in ax.containers])
    np.testing.assert_allclose(points, statistics.mean[:, [1, 0]])
    across, up = (line.get_segments()[0] for line in ax.containers[1].lines[2])
    np.testing.assert_allclose(across[:, 0], [statistics.low[1, 1], statistics.high[1, 1]])
    np.testing.assert_allclose(up[:, 1], [statistics.low[1, 0], statistics.high[1, 0]])
    assert [text.get_text() for text in ax.texts[: len(METHODS)]] == list(METHODS)
    with pytest.raises(ValueError, match="there is no metric 'lpips': there is near, psnr"):
        plot_plane(scores, statistics, distance="lpips")
    distances = replace(scores, qualities=frozenset())
    with pytest.raises(ValueError, match="the plane needs a quality such as psnr and a distance"):
        plot_plane(distances, statistics)


def test_differences_for_papers_are_sorted_and_the_better_is_above_zero(comparison: Comparison) -> None:
    pytest.importorskip("matplotlib")
    scores, statistics = comparison.scores, comparison.statistics
    for metric in METRICS:
        bars = [bar.get_height() for bar in plot_differences(scores, statistics, "blue", "red", metric).patches]
        gap = scores.values[2, METRICS.index(metric)] - scores.values[0, METRICS.index(metric)]
        np.testing.assert_allclose(bars, np.sort(gap if metric == "psnr" else -gap)[::-1])
        assert max(bars) < 0
    many = replace(scores, values=np.tile(scores.values, 60), images=scores.images * 60)
    ax = plot_differences(many, statistics_of(many), "red", "blue")
    assert len(ax.patches) == 200
    assert "red is better" in ax.texts[0].get_text()
    with pytest.raises(ValueError, match="there is no method 'ours': there is red, green, blue"):
        plot_differences(scores, statistics, "red", "ours")


def test_the_plane_of_the_page_draws_intervals_to_scale() -> None:
    drawing = named_points(
        "t", ["a", "b"], [0, 10], [0.011, 0.013], "x", "up", [(-2, 2), (9, np.nan)], [(0.010, 0.012)] * 2
    )
    lines = re.findall(r'class="whisker" x1="([\d.]+)" x2="([\d.]+)" y1="([\d.]+)" y2="([\d.]+)"', drawing)
    (left, right, *_), *upright = [[float(end) for end in line] for line in lines]
    assert len(upright) == 2  # an interval that is not known is not drawn
    dots = [float(x) for x in re.findall(r'class="dot" cx="([\d.]+)"', drawing)]
    assert (left + right) / 2 == pytest.approx(dots[0], abs=0.1)
    assert (right - left) / 4 == pytest.approx((dots[1] - dots[0]) / 10, abs=0.1)
    # levels that lie close have the digits that tell them apart
    levels = re.findall(r'text-anchor="end">([^<]*)<', drawing)
    assert len(set(levels)) == len(levels) > 1


# In the browser


class Viewer:
    """The page's viewer, as a person at the screen has it."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self.browser, self._picture = browser, folder / "screen.png"
        browser.evaluate(
            "document.documentElement.style.scrollBehavior = 'auto'; "
            "document.getElementById('viewer').scrollIntoView(); scrollBy(0, -60)"
        )

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width and height of an element in the window."""
        found = self.browser.evaluate(
            f"(() => {{ const box = document.querySelector({selector!r}).getBoundingClientRect(); "
            "return [box.x, box.y, box.width, box.height]; })()"
        )
        return tuple(found)  # type: ignore[return-value]

    def at(self, selector: str, across: float, down: float = 0.5) -> tuple[float, float]:
        x, y, width, height = self.box(selector)
        return x + across * width, y + down * height

    def screen(self) -> np.ndarray:
        self.browser.screenshot(self._picture)
        return np.asarray(Image.open(self._picture).convert("RGB")).astype(int)

    def shown(self, across: float, down: float = 0.5, selector: str = "#viewer-stage") -> tuple[str, float, float]:
        """Which method is seen at a place of a view, and which column and row of its picture."""
        x, y = self.at(selector, across, down)
        colour = self.screen()[int(y), int(x)]
        method = int(colour.argmax())
        if colour[method] < 250:
            return "reference", colour[0] / 4, colour[1] / 5
        column, row = np.roll(colour, -method)[1:]
        return METHODS[method], float(column) / 4, float(row) / 5

    def mouse(self, kind: str, spot: tuple[float, float], **options: Any) -> None:
        given = {"button": "left", "buttons": 1, "clickCount": 1, **options}
        self.browser.send("Input.dispatchMouseEvent", type=kind, x=spot[0], y=spot[1], **given)

    def drag(self, start: tuple[float, float], stop: tuple[float, float]) -> None:
        self.mouse("mousePressed", start)
        for share in (0.3, 0.7, 1.0):
            self.mouse("mouseMoved", tuple(a + share * (b - a) for a, b in zip(start, stop, strict=True)))  # type: ignore[arg-type]
        self.mouse("mouseReleased", stop, buttons=0)

    def click(self, selector: str) -> None:
        spot = self.at(selector, 0.5)
        self.mouse("mousePressed", spot)
        self.mouse("mouseReleased", spot, buttons=0)

    def press(self, key: str, code: str = "", shift: bool = False) -> None:
        event = {"key": key, "code": code or f"Key{key.upper()}", "modifiers": 8 if shift else 0}
        self.browser.send("Input.dispatchKeyEvent", type="keyDown", **event)
        self.browser.send("Input.dispatchKeyEvent", type="keyUp", **event)

    def wheel(self, spot: tuple[float, float], up: float) -> None:
        self.mouse("mouseWheel", spot, button="none", buttons=0, clickCount=0, deltaX=0, deltaY=-up)
        time.sleep(0.2)  # the answer comes before the page has scrolled

    def text(self, selector: str) -> str:
        return str(self.browser.evaluate(f"document.querySelector({selector!r}).textContent"))


def quiet(browser: Browser, path: Path) -> None:
    """Nothing went wrong, and nothing was asked for but the page and data."""
    assert browser.problems == []
    assert {one for one in browser.requests if not one.startswith("data:")} == {path.resolve().as_uri()}


@pytest.fixture
def viewer(browser: Browser, page: Path, tmp_path: Path) -> Iterator[Viewer]:
    browser.open(page, height=1100)
    yield Viewer(browser, tmp_path)
    quiet(browser, page)


def close(one: tuple[str, float, float], other: tuple[str, float, float], pixels: float = 1.5) -> bool:
    return one[0] == other[0] and abs(one[1] - other[1]) <= pixels and abs(one[2] - other[2]) <= pixels


def test_the_line_wipes_from_a_to_b(viewer: Viewer) -> None:
    assert viewer.box("#viewer-stills")[3] == 0  # the still pictures make room
    assert viewer.shown(0.25)[0] == "red"
    assert viewer.shown(0.75)[0] == "green"
    # both show the same place of the image
    assert viewer.shown(0.25)[1] == pytest.approx(0.25 * WIDTH, abs=1.5)
    assert viewer.shown(0.75)[1] == pytest.approx(0.75 * WIDTH, abs=1.5)
    viewer.drag(viewer.at("#viewer-stage", 0.5, 0.2), viewer.at("#viewer-stage", 0.1, 0.2))
    assert viewer.shown(0.25)[0] == "green"
    assert float(viewer.browser.evaluate("document.getElementById('viewer-wipe').value")) == pytest.approx(10, abs=1)
    # the slider below does the same, by keyboard too
    viewer.browser.evaluate("document.getElementById('viewer-wipe').focus()")
    viewer.press("End", "End")
    assert viewer.shown(0.95)[0] == "red"
    viewer.press("ArrowLeft", "ArrowLeft")
    assert viewer.text("#viewer-caption").startswith("scene/image 0")
    assert float(viewer.browser.evaluate("document.getElementById('viewer-wipe').value")) < 100


def test_blink_shows_a_and_b_in_turn(viewer: Viewer) -> None:
    still = [{"name": "prefers-reduced-motion", "value": "no-preference"}]
    viewer.browser.send("Emulation.setEmulatedMedia", features=still)
    viewer.click("#viewer-reset")
    viewer.press("b")
    seen = []
    for _ in range(6):
        seen.append(viewer.shown(0.5, 0.1)[0])
        time.sleep(0.3)
    assert set(seen) == {"red", "green"}
    assert viewer.browser.evaluate("document.getElementById('viewer-blink').getAttribute('aria-pressed')") == "true"
    viewer.press("b")
    left, right = viewer.shown(0.1)[0], viewer.shown(0.9)[0]
    assert (left, right) == ("red", "green")
    time.sleep(0.8)
    assert viewer.shown(0.1)[0] == "red"


def test_who_wants_no_motion_swaps_by_hand(viewer: Viewer) -> None:
    viewer.click("#viewer-blink")
    assert [viewer.shown(x)[0] for x in (0.1, 0.9)] == ["red", "red"]
    time.sleep(0.8)
    assert viewer.shown(0.9)[0] == "red"
    viewer.press("b")
    assert [viewer.shown(x)[0] for x in (0.1, 0.9)] == ["green", "green"]
    viewer.press("Escape", "Escape")
    assert [viewer.shown(x)[0] for x in (0.1, 0.9)] == ["red", "green"]


VIEWS = ("#viewer-stage", *(f'.panels [data-side="{side}"] .view' for side in ("reference", "a", "b")))


def places(viewer: Viewer, across: float, down: float) -> list[tuple[float, float]]:
    """Column and row that each view shows at a place."""
    return [viewer.shown(across, down, view)[1:] for view in VIEWS]


def test_the_wheel_zooms_all_views_about_the_pointer(viewer: Viewer) -> None:
    spot = viewer.at("#viewer-stage", 0.25, 0.3)
    scrolled = viewer.browser.evaluate("scrollY")
    viewer.wheel(spot, 240)  # nobody has clicked the viewer: the page scrolls
    assert viewer.browser.evaluate("scrollY") < scrolled
    viewer.browser.evaluate(f"scrollTo(0, {scrolled})")
    viewer.click("#viewer-reset")
    spot = viewer.at("#viewer-stage", 0.25, 0.3)
    before = viewer.shown(0.25, 0.3)
    viewer.wheel(spot, 480)
    assert viewer.browser.evaluate("scrollY") == scrolled
    assert close(viewer.shown(0.25, 0.3), before)
    # four times as large: half a view is an eighth of the image
    for column, row in places(viewer, 0.75, 0.8):
        assert column == pytest.approx((0.25 + 0.5 / 4) * WIDTH, abs=1.5)
        assert row == pytest.approx((0.3 + 0.5 / 4) * HEIGHT, abs=1.5)
    rendering = "getComputedStyle(document.querySelector('#viewer-stage .picture')).imageRendering"
    assert viewer.browser.evaluate(rendering) == "pixelated"
    viewer.wheel(spot, -2000)
    assert places(viewer, 0.9, 0.9)[1] == pytest.approx((0.9 * WIDTH, 0.9 * HEIGHT), abs=1.5)


def test_keys_and_buttons_zoom_and_move_and_reset(viewer: Viewer) -> None:
    viewer.click("#viewer-stage")
    whole = viewer.text("#viewer-zoom")
    viewer.press("+", "Equal", shift=True)
    viewer.click("#viewer-in")
    percent = float(viewer.text("#viewer-zoom").split()[0]) / 100
    assert np.log2(percent) % 1 == 0  # a pixel is 1, 2, 4 ... pixels of the screen
    shown = percent * WIDTH / viewer.box("#viewer-stage")[2]
    for column, row in places(viewer, 0.2, 0.2):
        assert column == pytest.approx((0.5 - 0.3 / shown) * WIDTH, abs=1.5)
        assert row == pytest.approx((0.5 - 0.3 / shown) * HEIGHT, abs=1.5)
    before = places(viewer, 0.2, 0.2)
    viewer.press("ArrowRight", "ArrowRight", shift=True)
    for (column, _), (old, _) in zip(places(viewer, 0.2, 0.2), before, strict=True):
        assert column == pytest.approx(old + 0.1 * WIDTH / shown, abs=1.5)
        assert column > old
    viewer.press("-", "Minus")
    assert float(viewer.text("#viewer-zoom").split()[0]) / 100 == percent / 2
    viewer.press("0", "Digit0")
    assert viewer.text("#viewer-zoom") == whole


def test_dragging_moves_a_zoomed_image_in_all_views(viewer: Viewer) -> None:
    viewer.click("#viewer-reset")
    viewer.wheel(viewer.at("#viewer-stage", 0.5), 480)
    before = viewer.shown(0.2, 0.6)
    viewer.drag(viewer.at("#viewer-stage", 0.2, 0.6), viewer.at("#viewer-stage", 0.35, 0.75))
    assert close(viewer.shown(0.35, 0.75), before)
    assert np.ptp([place[0] for place in places(viewer, 0.35, 0.75)]) <= 1.5
    # a panel moves the others too
    at = places(viewer, 0.6, 0.2)[0]
    viewer.drag(viewer.at(VIEWS[1], 0.6), viewer.at(VIEWS[1], 0.4))
    for column, _ in places(viewer, 0.4, 0.2):
        assert column == pytest.approx(at[0], abs=1.5)


def test_two_fingers_pinch(browser: Browser, page: Path, tmp_path: Path) -> None:
    browser.open(page, width=390, height=1400)
    browser.send("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=2)
    viewer = Viewer(browser, tmp_path)
    whole = viewer.text("#viewer-zoom")

    def fingers(kind: str, *shares: float) -> None:
        spots = [viewer.at("#viewer-stage", share) for share in shares]
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(spots)]
        browser.send("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    fingers("touchStart", 0.4, 0.6)
    for step in (0.35, 0.3, 0.2):
        fingers("touchMove", step, 1 - step)
    fingers("touchEnd")
    grown = float(viewer.text("#viewer-zoom").split()[0]) / float(whole.split()[0])
    assert grown == pytest.approx(3, rel=0.1)
    for column, _ in places(viewer, 0.6, 0.5)[1:]:
        assert column == pytest.approx((0.5 + 0.1 / grown) * WIDTH, abs=2)
    browser.send("Emulation.setTouchEmulationEnabled", enabled=False)
    quiet(browser, page)


def test_keys_choose_image_and_methods(viewer: Viewer) -> None:
    caption = lambda: viewer.text("#viewer-caption").split(":")[0]  # noqa: E731
    first = caption()
    viewer.press("ArrowRight", "ArrowRight")
    assert caption() == first  # the viewer was not clicked yet
    viewer.click("#viewer-stage")
    seen = [first]
    for _ in range(COUNT - 1):
        viewer.press("ArrowRight", "ArrowRight")
        seen.append(caption())
    assert sorted(seen) == [f"scene/image {k}" for k in range(COUNT)]
    viewer.press("ArrowRight", "ArrowRight")
    assert caption() == first
    viewer.press("ArrowLeft", "ArrowLeft")
    assert caption() == seen[-1]
    assert viewer.text("#viewer-image option:checked") == seen[-1]
    viewer.press("3", "Digit3")
    assert viewer.shown(0.25)[0] == "blue"
    assert viewer.shown(0.5, 0.5, VIEWS[2])[0] == "blue"
    viewer.press("!", "Digit1", shift=True)
    assert viewer.shown(0.75)[0] == "red"
    assert viewer.text('.tag[data-side="b"]') == "red"
    assert viewer.shown(0.5, 0.5, VIEWS[1])[0] == "reference"
    # the reference, by its button
    viewer.click(".choice tbody tr:first-child [name=viewer-a]")
    assert viewer.shown(0.25)[0] == "reference"
    # a list of images that has the focus keeps its own keys
    viewer.browser.evaluate("document.getElementById('viewer-image').focus()")
    viewer.press("2", "Digit2")
    assert viewer.shown(0.25)[0] == "reference"


def test_scores_of_the_image_stand_under_each_panel(viewer: Viewer, comparison: Comparison) -> None:
    viewer.click("#viewer-next")
    place = int(viewer.text("#viewer-caption").split(":")[0].split()[-1])
    for side, method in (("a", 0), ("b", 1)):
        near, psnr = comparison.scores.values[method, :, place]
        said = viewer.text(f'.panels [data-side="{side}"] figcaption')
        assert said.startswith(METHODS[method])
        assert f"{near:.4f}".removeprefix("0") in said
        assert f"{psnr:.2f}" in said
    assert viewer.text('.panels [data-side="reference"] figcaption').strip() == "reference"
    rows = "[...document.querySelectorAll('.choice tbody tr')].map((row) => row.cells[3].textContent)"
    expected = ["", *(f"{value:.4f}".removeprefix("0") for value in comparison.scores.values[:, 0, place])]
    assert viewer.browser.evaluate(rows) == expected


def test_heat_maps_come_and_go(viewer: Viewer) -> None:
    viewer.click("#viewer-stage")
    viewer.drag(viewer.at("#viewer-stage", 0.5, 0.9), viewer.at("#viewer-stage", 0.6, 0.9))
    x, y = map(int, viewer.at("#viewer-stage", 0.2, 0.2))
    u, v = map(int, viewer.at("#viewer-stage", 0.9, 0.9))
    p, q = map(int, viewer.at(VIEWS[1], 0.2, 0.2))
    cold = viewer.screen()
    viewer.press("h")
    hot = viewer.screen()
    assert np.abs(hot[y, x] - cold[y, x]).max() > 60
    np.testing.assert_allclose(hot[v, u], cold[v, u], atol=2)  # where the map is low the picture stays
    np.testing.assert_array_equal(hot[q, p], cold[q, p])  # the reference has no map
    assert viewer.browser.evaluate("document.getElementById('viewer-heat').getAttribute('aria-pressed')") == "true"
    viewer.press("h")
    np.testing.assert_array_equal(viewer.screen()[y, x], cold[y, x])


def test_without_maps_there_is_no_button_for_them(browser: Browser, comparison: Comparison, tmp_path: Path) -> None:
    path = write_comparison_report(comparison, tmp_path)[0]
    browser.open(path)
    assert browser.evaluate("document.getElementById('viewer-heat')") is None
    browser.evaluate("document.getElementById('viewer').focus()")
    Viewer(browser, tmp_path).press("h")
    assert not browser.evaluate("document.getElementById('viewer').classList.contains('hot')")
    quiet(browser, path)


def test_odd_names_are_text_and_nothing_overflows(browser: Browser, page: Path, tmp_path: Path) -> None:
    odd = compared(tmp_path / "images", HOSTILE, ("<near> $d$", "psnr & co"))
    images = tuple(replace(image, name=f"{HOSTILE[k % 3]} {k}") for k, image in enumerate(odd.scores.images))
    odd = replace(odd, scores=replace(odd.scores, images=images))
    values = odd.scores.values.copy()
    values[1] = values[0, :, ::-1] + np.array([[0.001], [-0.001]])  # tied with the best: its mark is beside the number
    odd = replace(odd, scores=replace(odd.scores, values=values))
    odd = replace(odd, statistics=statistics_of(odd.scores))
    strange = write_comparison_report(odd, tmp_path / "page", command=HOSTILE[0], heat=corner)[0]
    for path in (page, strange):
        for width in (360, 390, 800, 1280, 1600):
            browser.open(path, width=width, dark=width == 390)
            browser.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            browser.evaluate("document.getElementById('viewer-next').click()")
            assert browser.evaluate("document.documentElement.scrollWidth") == width
            assert browser.evaluate("typeof boom") == "undefined"
            quiet(browser, path)
    versions = "[...document.querySelectorAll('.choice tbody th')].map((one) => one.textContent)"
    assert browser.evaluate(versions) == ["reference", *HOSTILE]
    listed = "[...document.getElementById('viewer-image').options].map((one) => one.textContent)"
    assert sorted(browser.evaluate(listed)) == sorted(image.name for image in images)


def test_pictures_beside_the_page_are_shown_too(browser: Browser, comparison: Comparison, tmp_path: Path) -> None:
    path, *pictures = write_comparison_report(comparison, tmp_path / "out", heat=corner, files=True)
    assert len(pictures) == 4 * COUNT
    assert all(picture.parent == path.parent / "images" for picture in pictures)
    np.testing.assert_array_equal(np.asarray(Image.open(pictures[1])), pixels(0))
    browser.open(path, height=1100)
    viewer = Viewer(browser, tmp_path)
    wait = "Promise.all([...document.querySelectorAll('.view .picture')].map((one) => one.decode()))"
    browser.evaluate(wait + ".then(() => 1)")
    assert [viewer.shown(x)[0] for x in (0.25, 0.75)] == ["red", "green"]
    assert browser.problems == []
    asked = {one for one in browser.requests if not one.startswith("data:")}
    assert asked <= {file.resolve().as_uri() for file in (path, *pictures)}


def test_without_scripts_all_versions_are_on_the_page(browser: Browser, page: Path) -> None:
    browser.open(page, scripts=False)
    node = browser.send("DOM.getDocument")["root"]["nodeId"]

    def find(selector: str) -> list[int]:
        return list(browser.send("DOM.querySelectorAll", nodeId=node, selector=selector)["nodeIds"])

    pictures = find("#viewer-stills img")
    assert len(pictures) == 4 * COUNT
    for picture in pictures:
        assert browser.send("DOM.getBoxModel", nodeId=picture)["model"]["width"] > 100
    with pytest.raises(RuntimeError, match="box model"):
        browser.send("DOM.getBoxModel", nodeId=find("#viewer")[0])
    labels = [browser.send("DOM.getOuterHTML", nodeId=one)["outerHTML"] for one in find("#viewer-stills .label")]
    assert ".1000" in labels[1]
    quiet(browser, page)


def test_who_comes_by_keyboard_reaches_all_and_sees_where_they_are(viewer: Viewer) -> None:
    controls = viewer.browser.evaluate(
        "[...document.querySelectorAll('#viewer :is(button, select, input)')].every((one) => "
        "(one.textContent.trim() || one.getAttribute('aria-label')) && one.tabIndex === 0)"
    )
    assert controls
    viewer.browser.evaluate("document.getElementById('viewer-previous').focus()")
    for name in ("viewer-image", "viewer-next", "viewer-blink", "viewer-heat", "viewer-out", "viewer-in"):
        viewer.press("Tab", "Tab")
        assert viewer.browser.evaluate("document.activeElement.id") == name
        outline = viewer.browser.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
    # what changed is told
    viewer.browser.evaluate("document.getElementById('viewer-next').click()")
    assert viewer.text("#viewer-said").startswith(f"Image 2 of {COUNT}, scene/image ")
