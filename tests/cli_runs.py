"""Runs of the command line within the test's process."""

from __future__ import annotations

from typer.testing import CliRunner

from torchmetrics_fmiqa.cli import app


def run_command(*arguments: object) -> tuple[int, str]:
    """Exit status and output; an error's message is what the command line prints in one line, with status 2."""
    done = CliRunner().invoke(app, [*map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        if not isinstance(done.exception, ValueError):
            raise done.exception
        return 2, str(done.exception)
    return done.exit_code, done.output
