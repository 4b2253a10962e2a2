"""Tries the node's HTTP server with OpenAI's own client: `python -m tools.try_openai`.

A broker, a hub and `sled-node run` with an HTTP server run as they would in a house. Prints what was checked; exits with status 1 where something
is not as it should be.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

import typer

from shared.install import needing
from shared.program import run
from shared.streams import put_line
from tools.gateway.served import Trial, served


def main() -> None:
    """Run all checks."""
    with needing("dev"):
        from tools.gateway.openai_trial import OpenAITrial
    with tempfile.TemporaryDirectory(prefix="sled-") as folder, served(Path(folder)) as serving:
        trial = Trial(serving)
        with closing(OpenAITrial(trial)) as checks:
            for check in checks.checks:
                check()
    put_line(f"{len(trial.failed)} of the checks failed" if trial.failed else "all as it should be")
    raise typer.Exit(bool(trial.failed))


if __name__ == "__main__":
    run("tools.try_openai", main)
