"""Odd streams, words and terminals with a real hub: the answer comes all the same, or a sentence does."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest

from tests.odd_inputs.case import Said, judge
from tools.demo import broker_options
from tools.rig.testbed import HubBed

pytestmark = pytest.mark.slow  # each is a process that asks a hub

_JUMBLE = "--temperature 100 --seed 2 --max-tokens 60 hello"  # of all ids, those included that are half a character


def _said(bed: HubBed, line: str, stdin: bytes = b"") -> Said:
    """Run a line of a shell, in which ASK and CHAT are commands on the bed's broker."""
    options = shlex.join(["--name=pi", *broker_options(bed.broker.settings("pi"))])
    for word, command in (("ASK", "ask"), ("CHAT", "chat")):
        line = line.replace(word, f"{shlex.quote(sys.executable)} -m edge_node.cli {command} {options}")
    done = subprocess.run(["bash", "-c", line], input=stdin, capture_output=True, timeout=120, check=False)
    return Said(done.returncode, done.stdout.decode(), done.stderr.decode())


def test_an_ascii_terminal_gets_what_it_can_show_and_json_that_is_valid(bed: HubBed) -> None:
    plain = _said(bed, f"ASK {_JUMBLE}")
    judge(plain, 0, "")
    assert not plain.out.isascii()
    shown = _said(bed, f"PYTHONIOENCODING=ascii ASK {_JUMBLE}")
    judge(shown, 0, "")
    assert shown.out == plain.out.encode("ascii", "backslashreplace").decode()
    report = _said(bed, f"PYTHONIOENCODING=ascii ASK --json {_JUMBLE}")
    assert (report.status, report.err) == (0, "")
    assert report.out.isascii()
    assert f"{json.loads(report.out)['text']}\n" == plain.out


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("ASK hello > /dev/full", "standard output can't be written: No space left on device"),
        ("ASK --json hello > /dev/full", "standard output can't be written: No space left on device"),
        ("ASK hello >&-", "standard output can't be written: Bad file descriptor"),
        ("CHAT > /dev/full", "No space left on device"),
    ],
)
def test_an_output_that_takes_nothing(bed: HubBed, line: str, says: str) -> None:
    judge(_said(bed, line, b"hello\n"), 1, says)


def test_a_reader_that_leaves_hears_nothing_more(bed: HubBed) -> None:
    said = _said(bed, "set -o pipefail; ASK hello | false")
    judge(said, 1, "")
    assert said.err == ""


def test_without_standard_error_the_answer_comes(bed: HubBed) -> None:
    for stderr in ("2>&-", "2>/dev/full"):
        said = _said(bed, f"ASK --stop '[/]' --system '[bold]' 'turn on the kitchen lights' {stderr}")
        judge(said, 0, "")
        assert '"HassTurnOn"' in said.out


def test_a_chat_goes_on_behind_lines_that_are_no_text(bed: HubBed) -> None:
    lines = (
        b"turn on the k\xfcche lights\n\0\n"
        + b"x" * 2**20
        + b"y\n[bold]turn on the hall lights[/]\n/nonsense\n/stats\nturn on the kitchen lights\n"
    )
    said = _said(bed, "COLUMNS=\u00b2 LINES=0 TERM=[/] CHAT --system '[red]x[/red]'", lines)
    judge(Said(said.status, said.out.replace("x" * 600, ""), said.err), 0, "")
    assert "the request is not UTF-8 text" in said.out
    assert "the request holds a NUL character" in said.out
    assert "a line is longer than 1048576 characters" in said.out
    assert "→ HassTurnOn " in said.out


def test_a_chat_without_standard_input_ends(bed: HubBed) -> None:
    judge(_said(bed, "CHAT <&-"), 0, "")
