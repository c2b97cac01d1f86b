"""Does the suite notice what breaks? Break one thing at a time in a copy of the package; run the tests that guard it.

    python benchmarks/mutations.py --results after.json                     # every mutation, the working tree's tests
    python benchmarks/mutations.py --tree ../before --results before.json   # the same of another checkout
    python benchmarks/mutations.py --results after.json --baseline before.json

Results are saved as they come, and a second call goes on where the first ended. What caught a mutation in the baseline
is tried first, slow tests last. A mutation whose text is not in its file is *stale*: give it the new text. Libraries
are imported once; each mutation is a fork of that process.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import io
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from mutation_list import MUTATIONS, Mutation

ROOT = Path(__file__).parents[1]
PACKAGE = "torchmetrics_fmiqa"
#: What the tests import and no mutation touches.
LIBRARIES = (
    *("kornia", "lightning.pytorch", "matplotlib.pyplot", "ot", "pyarrow", "pytest", "scipy.stats"),
    *("timm", "torch._dynamo", "torchmetrics", "torchvision", "typer"),
)


def main() -> None:
    """Run what is not in the results yet, then print the table; exit status 1 if a mutation survived or is stale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, default=ROOT, help="the checkout to break a copy of")
    parser.add_argument("--results", type=Path, default=Path("mutations.json"), help="where results are kept")
    parser.add_argument("--baseline", type=Path, help="results of another checkout to print beside these")
    parser.add_argument("--only", default="", help="names that hold this text alone")
    parser.add_argument("--deselect", action="append", default=[], help="a test that fails without any mutation")
    parser.add_argument("--jobs", type=int, default=1, help="mutations at a time, one thread each")
    options = parser.parse_args()
    chosen = [one for one in MUTATIONS if options.only in one.name]
    results: dict[str, Any] = json.loads(options.results.read_text()) if options.results.exists() else {}
    waiting = [one for one in chosen if results.get(one.name, {}).get("outcome") not in ("caught", "survived")]
    baseline = json.loads(options.baseline.read_text()) if options.baseline else None
    run_all(waiting, options, results, baseline or {})
    print(table(chosen, results, baseline))
    sys.exit(any(results.get(one.name, {}).get("outcome") != "caught" for one in chosen))


def run_all(
    waiting: Sequence[Mutation], options: argparse.Namespace, results: dict[str, Any], baseline: dict[str, Any]
) -> None:
    """Run mutations, a few at a time, and save each result when it is there."""
    jobs: int = options.jobs
    if waiting:
        _import_libraries()
    running: dict[int, tuple[Mutation, Path, float]] = {}
    for mutation in [*waiting, *[None] * jobs]:
        while running and (len(running) >= jobs or mutation is None):
            process, status = os.wait()
            done, folder, began = running.pop(process)
            found = folder / "result.json"
            # A run that died is a run that failed: the mutation crashed the interpreter.
            result = json.loads(found.read_text()) if found.exists() else {"outcome": "caught", "by": f"exit {status}"}
            results[done.name] = {**result, "seconds": round(time.monotonic() - began, 1)}
            options.results.write_text(json.dumps(results, indent=1))
            print(f"{results[done.name]['outcome']:8} {done.name}  {results[done.name].get('by', '')}", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
        if mutation is None:
            continue
        folder = Path(tempfile.mkdtemp(prefix="mutation"))
        process = os.fork()
        if process == 0:
            guard = baseline.get(mutation.name, {}).get("by", "")
            _run_one(mutation, options.tree.resolve(), guard, options.deselect, folder)
        running[process] = (mutation, folder, time.monotonic())


def _import_libraries() -> None:
    """Import what all tests need, before forking."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    import torch
    from hypothesis import Phase, settings

    settings.register_profile("first", phases=(Phase.explicit, Phase.generate))  # a smaller example takes minutes
    settings.load_profile("first")
    for name in LIBRARIES:
        importlib.import_module(name)
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page


def _run_one(mutation: Mutation, tree: Path, guard: str, deselected: list[str], folder: Path) -> None:
    """In a child: break the copy, run the tests, write the result. Never returns."""
    result: dict[str, Any] = {}
    log = io.StringIO()
    try:
        copy = folder / "copy"
        for name in (PACKAGE, "tests", "train"):  # some tests import the training of the embedded network
            shutil.copytree(tree / name, copy / name)
        shutil.copy(tree / "pyproject.toml", copy)
        broken = copy / PACKAGE / mutation.file
        text = broken.read_text() if broken.exists() else ""
        tests = _existing(copy / "tests", mutation.tests)
        if mutation.old not in text or not tests:
            result = {"outcome": "stale", "by": f"{mutation.file}: {mutation.old if tests else mutation.tests}"}
        else:
            broken.write_text(text.replace(mutation.old, mutation.new, 1))
            os.chdir(copy)
            os.environ["PYTHONPATH"] = str(copy)
            sys.path.insert(0, str(copy))
            attempts = [*([one, "-m", "not slow"] for one in tests), [*tests, "-m", "slow"]]
            for chosen in [[guard], *attempts] if "::" in guard else attempts:
                result = _outcome([*chosen, *(f"--deselect={one}" for one in deselected)], log)
                if result["outcome"] == "caught":
                    break
    except BaseException as error:
        result = {"outcome": "error", "by": repr(error)}
    (folder / "result.json").write_text(json.dumps(result))
    os._exit(0)


def _outcome(arguments: list[str], log: io.StringIO) -> dict[str, str]:
    import pytest

    class First:
        name = ""

        def pytest_runtest_logreport(self, report: Any) -> None:
            if report.failed and not self.name:
                self.name = report.nodeid

        def pytest_collectreport(self, report: Any) -> None:
            if report.failed and not self.name:
                self.name = f"{report.nodeid} (import)"

    first = First()
    with redirect_stdout(log), redirect_stderr(log):
        status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *arguments], plugins=[first])
    if status in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return {"outcome": "survived", "by": ""}
    if status in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED) and first.name:
        return {"outcome": "caught", "by": first.name}
    return {"outcome": "error", "by": log.getvalue()[-300:]}


def _existing(folder: Path, names: Iterable[str]) -> list[str]:
    """The test files there are, in the order given: what is likely to notice comes first."""
    found = [path for name in names for path in sorted(folder.glob(f"test_{name}.py"))]
    return [f"tests/{path.name}" for path in dict.fromkeys(found)]


def table(chosen: Sequence[Mutation], results: dict[str, Any], baseline: dict[str, Any] | None) -> str:
    """A Markdown table of the outcomes, and how many were caught."""
    sides = [("", results)] if baseline is None else [("before", baseline), ("after", results)]
    header = " | ".join(name or "outcome" for name, _ in sides)
    lines = [f"| file | what is broken | {header} |", "|---" * (2 + len(sides)) + "|"]
    for one in chosen:
        outcomes = " | ".join(side.get(one.name, {}).get("outcome", "not run") for _, side in sides)
        lines.append(f"| {one.file} | {one.name} | {outcomes} |")
    for name, side in sides:
        caught = sum(side.get(one.name, {}).get("outcome") == "caught" for one in chosen)
        lines.append(f"{name or 'result'}: {caught} of {len(chosen)} caught")
    if baseline is not None:
        was = {one.name for one in chosen if baseline.get(one.name, {}).get("outcome") == "caught"}
        lost = [name for name in sorted(was) if results.get(name, {}).get("outcome") != "caught"]
        lines.append(f"caught before and not now: {', '.join(lost) or 'none'}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
