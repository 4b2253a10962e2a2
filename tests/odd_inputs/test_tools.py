"""The tools' command lines, given what is none of theirs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.program import Program
from tests.odd_inputs.case import Case, check, rows
from tools.bench.__main__ import app as bench
from tools.chaos.__main__ import main as chaos
from tools.exits.__main__ import main as exits
from tools.export import main as export
from tools.fuzz.__main__ import main as fuzz
from tools.home.assemble import main as assemble
from tools.home.data.generate import main as generate
from tools.home.train import train
from tools.home.training.plot_loss import main as plot_loss
from tools.rig.delay_proxy import main as delay_proxy


def _program(command: Callable[..., None]) -> Program:
    """The command as its module runs it."""
    program = Program(command.__module__, RuntimeError)
    program.command()(command)
    return program


_BENCHES = (
    Case("no such benchmark", "No such command 'nonsense'", ("nonsense",), status=2),
    Case("no requests", "Invalid value for '--requests'", ("exactness", "--requests", "0"), status=2),
    Case("no such pair", "'[/]' is not a pair", ("exactness", "--pair", "[/]")),
    Case("no such pair for rounds", "'../x' is not a pair", ("round", "--pair", "../x")),
    Case("no such pair for modes", "'' is not a pair", ("modes", "--pair", "")),
    Case("no such pair for early verdicts", "'nope' is not a pair", ("early", "--pair", "nope")),
    Case("no such format", "there is no dtype 'int4'; use one of int8, float32", ("invariance", "--dtype", "int4")),
    Case("no such target", "there is no target 'x'; use one or more of home, 2m", ("invariance", "--targets", "home,x")),
    Case("no target", "there is no target ''", ("invariance", "--targets", "")),
    Case("no such shape", "there is no shape '900b'; use one of 2m", ("capacity", "--shape", "900b")),
    Case("no such shape for curves", "there is no shape '[/]'", ("curves", "--shape", "[/]")),
    Case("no such shape for drafts", "there is no shape '9b'", ("draft", "--shape", "9b")),
    Case("no such shape for early verdicts", "there is no shape '../x'", ("early", "--shape", "../x")),
    Case("no such dtype", "there is no dtype 'int3'; use one of float32", ("overhead", "--dtype", "int3")),
    Case("no such device", "there is no device 'mps'", ("capacity", "--device", "mps")),
    Case("no such transport", "there is no transport 'pigeon'; use one of broker, memory", ("capacity", "--transport", "pigeon")),
    Case("no such weights", "Invalid value for '--weights'", ("capacity", "--weights", "int2"), status=2),
    Case("a rate in words", "--slo is a number of tokens per second above 0, or auto, not 'fast'", ("capacity", "--slo", "fast")),
    Case("no rate", "--slo is a number of tokens per second above 0", ("capacity", "--slo", "0")),
    Case("a rate without a number", "--slo is a number of tokens per second above 0", ("capacity", "--slo", "nan")),
    Case("no such precision", "Invalid value for '--precision'", ("draft", "--precision", "int3"), status=2),
    Case("conditions in words", "give conditions as RTT,DRAFT,ACCEPTANCE in ms", ("latency", "--only", "a,b,c")),
    Case("two conditions", "give conditions as RTT,DRAFT,ACCEPTANCE in ms", ("latency", "--only", "1,2")),
    Case("conditions without a number", "give conditions as RTT,DRAFT,ACCEPTANCE in ms", ("latency", "--only", "nan,1,0.5")),
    Case("endless conditions", "give conditions as RTT,DRAFT,ACCEPTANCE in ms", ("latency", "--only", "inf,1,0.5")),
    Case("more than all accepted", "give conditions as RTT,DRAFT,ACCEPTANCE in ms", ("latency", "--only", "1,1,2")),
    Case("a soak of too few samples", "0.1 minutes have fewer than 8 samples; use --every", ("soak", "--minutes", "0.1")),
    Case("no samples", "cannot read samples from {here}/x", ("soak", "--minutes", "0", "--samples", "{here}/x")),
    Case("samples that are none", "cannot read samples from /etc/passwd", ("soak", "--minutes", "0", "--samples", "/etc/passwd")),
    Case("a picture of no kind", "x.nope is no name of a picture; let it end in .png", ("soak", "--plot", "x.nope")),
    Case("a picture that is a folder", "Invalid value for '--out'", ("curves", "--out", "/tmp"), status=2),
)  # fmt: skip


@rows(*_BENCHES)
def test_a_benchmark(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check(case, bench, tmp_path)


def _checkpoint(name: str, config: bytes | str, says: str) -> Case:
    return Case(name, says, ("{here}/c", "{here}/out.onnx"), files={"c/config.json": config})


_EXPORTS = (
    Case("nothing", "Missing argument 'checkpoint'", status=2),
    Case("no such folder", "Invalid value for 'checkpoint'", ("/nowhere", "out.onnx"), status=2),
    Case("a file", "Invalid value for 'checkpoint'", ("/etc/passwd", "out.onnx"), status=2),
    Case("an empty folder", "cannot read {here}/c/config.json: No such file or directory; copy the whole checkpoint", ("{here}/c", "{here}/out.onnx"), files={"c": Path.mkdir}),
    _checkpoint("no JSON", "{", "{here}/c/config.json is not JSON"),
    _checkpoint("binary", bytes(range(256)), "{here}/c/config.json is not JSON"),
    _checkpoint("deep", "[" * 100_000, "{here}/c/config.json is not JSON"),
    _checkpoint("a list", "[]", "{here}/c/config.json does not hold a JSON object"),
    _checkpoint("an unknown architecture", json.dumps({"model_type": "[/]"}), "does not know the architecture '[/]' of {here}/c"),
    _checkpoint("no weights", json.dumps({"model_type": "llama"}), "{here}/c has no model.safetensors"),
    Case("a short head without a text", "--head and --text go together", ("{here}", "out.onnx", "--head", "3")),
    Case("a text that is not there", "Invalid value for '--text'", ("{here}", "out.onnx", "--head=3", "--text=/nowhere"), status=2),
    Case("bits in words", "Invalid value for '--bits'", ("{here}", "out.onnx", "--bits", "four"), status=2),
    Case("a graph that is a folder", "Invalid value for 'out'", ("{here}", "{here}"), status=2),
)  # fmt: skip


@rows(*_EXPORTS)
def test_an_export(case: Case, tmp_path: Path) -> None:
    check(case, _program(export), tmp_path)


_OTHERS = (
    (exits, Case("no such pair", "'[/]' is not a pair", ("[/]",))),
    (exits, Case("no such layer", "Invalid value for '--layer'", ("home", "--layer", "0"), status=2)),
    (exits, Case("a layer past the last", "exits are possible behind 1 to 5", ("home", "--layer", "99"))),
    (exits, Case("requests that are not there", "Invalid value for '--requests'", ("home", "--requests", "/nowhere"), status=2)),
    (exits, Case("requests in Latin-1", "the file of requests {here}/r is not UTF-8 text", ("home", "--requests", "{here}/r"), files={"r": b"k\xfcche"})),
    (train, Case("no such recipe", "there is no recipe '[/]'; use one of staged, plain", ("--out={here}/o", "--recipe", "[/]"))),
    (train, Case("compute without a number", "Invalid value for '--compute'", ("--out={here}/o", "--compute", "nan"), status=2)),
    (train, Case("a folder that is a file", "can't use {here}/f: File exists", ("--out={here}/f",), files={"f": ""})),
    (train, Case("a folder that can't be", "can't use /proc/nothing: No such file", ("--out=/proc/nothing/here",))),
    (assemble, Case("no build", "can't use /nowhere/target/config.json: No such file", ("--build=/nowhere", "--out={here}/o"))),
    (plot_loss, Case("no log", "can't use /nowhere/target.loss.csv: No such file", ("--build=/nowhere", "--out={here}/o.png"))),
    (plot_loss, Case("another log", "target.loss.csv is not a log of tools.home.train", ("--build={here}", "--out={here}/o.png"), files={"target.loss.csv": "a,b\n1,2\n"})),
    (plot_loss, Case("a binary log", "target.loss.csv is not a log of tools.home.train", ("--build={here}", "--out={here}/o.png"), files={"target.loss.csv": bytes(range(256))})),
    (generate, Case("none", "Invalid value for '--count'", ("--count", "0"), status=2)),
    (generate, Case("a seed in words", "Invalid value for '--seed'", ("--seed", "x"), status=2)),
    (chaos, Case("no schedule", "cannot read the schedule /nowhere: No such file", ("--replay=/nowhere",))),
    (chaos, Case("a binary schedule", "the schedule {here}/s is not UTF-8 text", ("--replay={here}/s",), files={"s": bytes(range(256))})),
    (chaos, Case("a deep schedule", "{here}/s is no schedule of tools.chaos: RecursionError", ("--replay={here}/s",), files={"s": "[" * 100_000})),
    (chaos, Case("a schedule that is a pipe", "the schedule {here}/s is not a regular file", ("--shrink={here}/s",), files={"s": os.mkfifo})),
    (chaos, Case("a schedule of other things", "{here}/s is no schedule of tools.chaos: KeyError('events')", ("--shrink={here}/s",), files={"s": "{}"})),
    (fuzz, Case("no messages", "Invalid value for '--messages'", ("--messages", "0"), status=2)),
    (delay_proxy, Case("no port", "give it as host:port", ("--to", "host"), status=2)),
    (delay_proxy, Case("a wide port", "give it as host:port", ("--to", "host:99999"), status=2)),
    (delay_proxy, Case("a port in other digits", "give it as host:port", ("--to", "host:²"), status=2)),
)  # fmt: skip


@pytest.mark.parametrize(
    ("command", "case"), [pytest.param(*row, id=f"{row[0].__module__}: {row[1].name}") for row in _OTHERS]
)
def test_another_tool(command: Callable[..., None], case: Case, tmp_path: Path) -> None:
    check(case, _program(command), tmp_path)
