"""What the command line writes, prints and keeps: signals, full disks, inputs, odd names, other consoles."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import torchmetrics_fmiqa.scoring as scoring
from tests.interrupted import struck
from tests.test_benchmark_scoring import dataset
from tests.test_cli import VIT, picture, save
from tests.test_fit_images import VIT as FIT_VIT
from tests.test_fit_images import rated
from torchmetrics_fmiqa import __version__
from torchmetrics_fmiqa.benchmark.scoring.pair_run import PairRun
from torchmetrics_fmiqa.cli import app, main
from torchmetrics_fmiqa.cli.console import plain
from torchmetrics_fmiqa.cli.termination import Termination, keyboard_interrupt_on_termination
from torchmetrics_fmiqa.data.tables import text_of_csv
from torchmetrics_fmiqa.fitting.trainer import HeadTrainer


@pytest.fixture
def run(monkeypatch, capfd):
    """Run the command as the shell does: its exit status, standard output and standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fmiqa", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        return (end.value.code or 0, *capfd.readouterr())  # type: ignore[return-value]

    return call


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    for seed in range(3):
        save(tmp_path / "ref" / f"{seed}.png", picture(seed))
        save(tmp_path / "dist" / f"{seed}.png", picture(seed, noise=10 * seed))
    return tmp_path / "ref", tmp_path / "dist"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_keeps_what_was_scored_and_is_the_exit_status(run, folders, tmp_path, monkeypatch, name):
    number, real = getattr(signal, name), scoring.score_pairs
    # whoever runs the tests may have set it to be ignored, as `nohup` and background jobs do
    usual = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
    found, before = signal.signal(number, usual), usual

    def interrupted(*arguments, **options):
        results = real(*arguments, **options)
        yield next(results)
        yield next(results)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(scoring, "score_pairs", interrupted)
    out = tmp_path / "scores.csv"
    try:
        status, _, told = run("score", *folders, "--out", out, *VIT)
        assert signal.getsignal(number) is before
    finally:
        signal.signal(number, found)
    assert status == 128 + number
    assert "Traceback" not in told
    with out.open(newline="") as file:
        assert [row["dist"] for row in csv.DictReader(file)] == ["0.png", "1.png"]


@pytest.mark.parametrize("command", ["score", "recipes", "help"])
def test_who_stops_reading_ends_it_without_a_word(monkeypatch, folders, tmp_path, capfd, command):
    out = tmp_path / "scores.csv"
    arguments = {"score": ("score", *folders, "--out", out, *VIT), "help": ("--help",)}.get(command, (command,))
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(sys, "argv", ["fmiqa", *map(str, arguments)])
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(SystemExit) as end:
            main()
    assert end.value.code == 141
    assert re.fullmatch(r"\s*(3 scores in .*)?\s*", capfd.readouterr().err)
    assert out.exists() == (command == "score")  # what was scored is not lost


def test_notes_that_nobody_reads_are_passed_over(monkeypatch, folders, capfd):
    reader, writer = os.pipe()
    os.close(reader)
    (folders[1] / "2.png").unlink()
    monkeypatch.setattr(sys, "argv", ["fmiqa", "score", *map(str, folders), *VIT])
    stream = os.fdopen(writer, "w")
    monkeypatch.setattr(sys, "stderr", stream)
    with pytest.raises(SystemExit) as end:
        main()
    with suppress(BrokenPipeError):  # what another library left unsaid
        stream.close()
    assert end.value.code == 1
    assert "1.png" in capfd.readouterr().out


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with keyboard_interrupt_on_termination():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_while_results_are_saved_only_ctrl_c_interrupts():
    termination = Termination()
    for number in (signal.SIGTERM, signal.SIGINT):
        with pytest.raises(KeyboardInterrupt):
            termination(number, None)
        termination(signal.SIGTERM, None)
    assert termination.signal == signal.SIGTERM


def test_a_full_disk_costs_no_score(run, folders, tmp_path):
    full = tmp_path / "full.csv"
    full.symlink_to("/dev/full")
    status, printed, told = run("score", *folders, "--out", full, *VIT)
    assert status == 2
    assert f"error: cannot write '{full}': No space left on device\n" in told
    assert "Traceback" not in told
    assert re.search(r"^ref,dist,score\r?\n0\.png,0\.png,0\.0", printed, re.M), printed


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing/s.csv", "no folder"), ("n" * 300 + ".csv", "too long"), ("kept.csv", "read-only"), ("dist", "ends in")],
)
def test_an_output_that_cannot_be_written_is_refused_before_the_work(run, folders, tmp_path, monkeypatch, name, reason):
    monkeypatch.setattr(scoring, "score_pairs", lambda *_, **__: pytest.fail("scored"))
    (tmp_path / "kept.csv").write_text("kept")
    (tmp_path / "kept.csv").chmod(0o444)
    status, printed, told = run("score", *folders, "--out", tmp_path / name, *VIT)
    assert (status, printed) == (2, "")
    assert len(told.splitlines()) == 1
    assert re.search(f"(?i){reason}", told), told
    assert (tmp_path / "kept.csv").read_text() == "kept"


def test_an_output_over_an_input_is_refused(run, folders, tmp_path):
    ref, dist = (folder / "0.png" for folder in folders)
    table, recipe, link, hard, same = (tmp_path / one for one in ("t.csv", "r.yaml", "link.png", "hard.csv", "r.csv"))
    table.write_text("ref,dist,mos\nref/0.png,dist/0.png,3\n")
    recipe.write_text("backbone: vit_tiny_patch16_224\nweights: random:0\ntaps: [0]\n")
    link.symlink_to(dist)
    hard.hardlink_to(ref)
    same.hardlink_to(recipe)
    commands = [
        ("map", ref, dist, "--out", ref),
        ("map", ref, dist, "--out", link),
        ("score", "--pairs", table, "--out", table),
        ("score", "--pairs", table, "--out", hard),
        ("score", ref, dist, "--recipe", recipe, "--out", same),
    ]
    before = {path: path.read_bytes() for path in (ref, dist, table, recipe)}
    for command in commands:
        status, printed, told = run(*command, *(() if recipe in command else VIT))
        assert (status, printed) == (2, ""), command
        assert "is an input" in told, told
    assert {path: path.read_bytes() for path in before} == before


def test_an_interruption_before_the_first_score_leaves_an_older_table(run, folders, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)
        yield

    monkeypatch.setattr(scoring, "score_pairs", interrupted)
    (tmp_path / "s.csv").write_text("kept")
    assert run("score", *folders, "--out", tmp_path / "s.csv", *VIT)[0] == 128 + signal.SIGTERM
    assert (tmp_path / "s.csv").read_text() == "kept"


NAMES = ["price_$\\frac$.png", "[bold]x[-].png", ":cat:.png", "=1+1.png", "new\nline.png", "caf\udce9.bmp", "é.png"]


def test_odd_names_are_names(run, tmp_path):
    for name in NAMES:
        save(tmp_path / "ref" / name, picture())
        save(tmp_path / "dist" / name, picture(noise=9))
    out = tmp_path / "[dim]s.csv"
    status, printed, told = run("score", tmp_path / "ref", tmp_path / "dist", "--out", out, *VIT)
    assert status == 0
    with out.open(newline="", encoding="utf-8") as file:
        assert sorted(text_of_csv(row["dist"]) for row in csv.DictReader(file)) == sorted(NAMES)
    assert "[dim]s.csv" in told
    for shown in ("price_$\\frac$.png", "[bold]x[-].png", ":cat:.png", "new\\nline.png", "caf\\udce9.bmp", "é.png"):
        assert f" {shown}\n" in printed


@pytest.mark.parametrize("name", [NAMES[0], NAMES[5]])
def test_a_map_is_drawn_of_odd_names(run, tmp_path, name):
    pytest.importorskip("matplotlib")
    ref, dist = save(tmp_path / "r.png", picture()), save(tmp_path / name, picture(noise=9))
    status, _, told = run("map", ref, dist, "--out", tmp_path / "m.SVG", *VIT)
    assert (status, told) == (0, "")
    assert (tmp_path / "m.SVG").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_console_of_another_code_page_shows_what_it_can(monkeypatch, tmp_path, encoding):
    ref = save(tmp_path / "ре.png", picture())
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "argv", ["fmiqa", "score", str(ref), str(ref), *VIT])
    with pytest.raises(SystemExit) as end:
        main()
    stream.flush()
    assert end.value.code in (0, None)
    assert b"\\u0440" in stream.buffer.getvalue()  # type: ignore[attr-defined]


def test_few_images_are_printed_one_by_one_and_layers_on_the_screen(run, folders, monkeypatch):
    status, printed, _ = run("score", *folders, "--layers", *VIT)
    assert status == 0
    assert re.findall(r"^\S+ +(\d\.png)$", printed, re.M) == ["0.png", "1.png", "2.png"]
    assert re.findall(r"^(score|blocks\.\d) +3 ", printed, re.M) == ["score", "blocks.0", "blocks.1"]
    monkeypatch.setattr("torchmetrics_fmiqa.cli.score_table._MAX_LISTED", 2)
    _, printed, _ = run("score", *folders, *VIT)
    assert not re.findall(r"^\S+ +(\d\.png)$", printed, re.M)


def test_the_version_and_the_help_of_every_command():
    found = CliRunner().invoke(app, ["--version"])
    assert (found.exit_code, found.output) == (0, f"fmiqa {__version__}\n")
    for command in ((), ("score",), ("map",), ("benchmark",), ("fit",), ("fuse",), ("recipes",)):
        text = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "80", "TERM": "dumb"}).output
        assert "--help" in text
        assert not re.search(r"bool", text, re.I), text
        assert max(map(len, text.splitlines())) <= 80


def test_text_for_the_console_is_one_line_and_no_markup():
    assert plain("a[b]\x1b[31m\n") == "a\\[b]\\x1b[31m\\n"


BENCHMARK = ("--metrics", "psnr", "--changes", "none", "--attacked", 0, "--resamples", 10, "--batch", 2)
FIT = ("--batch", 100, "--epochs", 4, "--patience", 4, "--hidden", 2, "--folds", 3, "--resamples", 10)


def _commands(folder: Path) -> dict[str, list[str]]:
    """Each command with all that it reads; it writes to the folder ``out``."""
    found: dict[str, tuple[object, ...]] = {
        "benchmark": ("--pairs", dataset(folder / "images"), *BENCHMARK),
        "fit": ("--pairs", rated(folder / "rated"), *FIT_VIT, *FIT, "--cache", folder / "cache"),
    }
    return {name: [name, *map(str, options), "--out", str(folder / "out")] for name, options in found.items()}


def _done(folder: Path, command: str) -> int:
    """How much an interrupted command has left: parts of scores, or epochs of a head that is being trained."""
    if command == "benchmark":
        return len(list((folder / "out" / "parts").iterdir()))
    (last,) = (folder / "out" / "training").rglob("last.ckpt")
    return int(torch.load(last, weights_only=True)["epoch"])


@pytest.mark.slow
@pytest.mark.parametrize("command", ["benchmark", "fit"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_run_goes_on_after_a_signal(run, tmp_path, monkeypatch, command, name):
    number, arguments = getattr(signal, name), _commands(tmp_path)[command]
    if name == "SIGTERM":
        ended = subprocess.run(
            [sys.executable, "-m", "tests.interrupted", name, *arguments], capture_output=True, text=True, timeout=300
        )
        status, printed, told = ended.returncode, ended.stdout, ended.stderr
    else:
        found = signal.signal(number, signal.default_int_handler)
        try:
            with struck(number):
                status, printed, told = run(*arguments)
        finally:
            signal.signal(number, found)
    assert (status, printed) == (128 + number, ""), told
    (line,) = told.strip().splitlines()
    assert re.fullmatch(rf"interrupted: .* {re.escape(str(tmp_path / 'out'))}", line)
    assert _done(tmp_path, command) == 2
    if name == "SIGINT":
        return
    scored, trained = [], []
    with monkeypatch.context() as patch:
        patch.setattr(PairRun, "_write", lambda *one, write=PairRun._write: (scored.append(one), write(*one)))
        validate = HeadTrainer.validate
        patch.setattr(HeadTrainer, "validate", lambda one: (trained.append(one.epoch), validate(one))[1])
        status, printed, told = run(*arguments)
    assert status == 0, told
    assert "report in" in printed
    if command == "benchmark":
        assert len(scored) == 3  # of five parts
    else:
        assert trained == [2, 3, *range(4), *range(4), *range(4)]  # three folds and the final head
