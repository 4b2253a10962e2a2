"""Coverage-guided fuzzing by atheris: the codec, and what a session on either side makes of messages.

    python -m tools.fuzz.guided codec|hub|node [options of libFuzzer]

Each runs in a process of its own, since libFuzzer ends the process that it runs in. An exception is a finding.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from shared.errors import SettingsError
from tools.fuzz.targets import TARGETS, Target

_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_COVERED = re.compile(r"cov: (\d+)")
_SHOWN = 2000  # characters of a finding


@dataclass(frozen=True)
class Guided:
    """What a target brought."""

    executions: int
    covered: int  # edges of the product's code
    finding: str  # the exception and the input, nothing where there was none


def run(target: Target, seconds: int, seed: int) -> Guided:
    """Fuzz one target for so many seconds. Raises SettingsError where atheris is not installed."""
    if importlib.util.find_spec("atheris") is None:
        raise SettingsError("atheris is not installed; run: pip install atheris, or give --search-seconds 0")
    with tempfile.TemporaryDirectory(prefix="sled-fuzz-") as name:
        folder = Path(name)
        corpus = folder / "corpus"
        corpus.mkdir()
        for number, data in enumerate(target.seeds()):
            (corpus / str(number)).write_bytes(data)
        command = [
            sys.executable, "-m", "tools.fuzz.guided", target.name, str(corpus), f"-max_total_time={seconds}",
            f"-seed={seed + 1}", f"-artifact_prefix={folder}/", "-print_final_stats=1", "-max_len=4096", "-timeout=10",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        said = done.stdout + done.stderr
        inputs = [f"{file.name}: {file.read_bytes().hex()}" for file in folder.iterdir() if file.is_file()]
    finding = "" if done.returncode == 0 else f"{target.name}: {' '.join(inputs)}\n{said[-_SHOWN:]}"
    executed, covered = _EXECUTED.findall(said), _COVERED.findall(said)
    return Guided(int(executed[-1]) if executed else 0, int(covered[-1]) if covered else 0, finding)


def main(arguments: list[str]) -> None:
    """Fuzz the target that is named, in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["shared", "hub", "edge_node"]):
        body = TARGETS[arguments[1]].body()
    atheris.Setup([arguments[0], *arguments[2:]], body)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
