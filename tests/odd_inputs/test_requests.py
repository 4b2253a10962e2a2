"""Requests, system messages and stop strings that are no text; what the tools are told that is none of theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_node.cli import app
from tests.odd_inputs.case import Case, check, rows

_NOT_UTF8 = "k\udcfcche"  # what Python makes of a byte in Latin-1


def _asked(name: str, says: str, *args: str, status: int = 1, stdin: bytes = b"") -> Case:
    return Case(name, says, ("--broker-host=127.0.0.1", "--broker-port=1", *args), status=status, stdin=stdin)


_REQUESTS = (
    _asked("nothing at all", "Missing argument 'request'; see sled ask --help", status=2),
    _asked("words without quotes", "no MQTT broker answers", "turn", "on", "the", "light"),
    _asked("an empty request", "the request is empty; say what to ask", ""),
    _asked("spaces alone", "the request is empty; say what to ask", "   "),
    _asked("lines alone", "the request is empty; say what to ask", "\n\t\r\n"),
    _asked("wide spaces alone", "the request is empty; say what to ask", "\u3000\u2003"),
    _asked("not UTF-8", "the request is not UTF-8 text; convert it, for example with iconv -t UTF-8", _NOT_UTF8),
    _asked("half of a surrogate pair", "the request is not UTF-8 text", "\ud800"),
    _asked("an empty input", "the request is empty; say what to ask", "-"),
    _asked("an input of spaces", "the request is empty; say what to ask", "-", stdin=b" \n\n"),
    _asked("a byte order mark alone", "the request is empty; say what to ask", "-", stdin=b"\xef\xbb\xbf"),
    _asked("an input in Latin-1", "the request is not UTF-8 text", "-", stdin=b"turn on the k\xfcche lights"),
    _asked("an input in UTF-16", "the request is not UTF-8 text", "-", stdin="turn on".encode("utf-16")),
    _asked("a binary input", "the request is not UTF-8 text", "-", stdin=bytes(range(256))),
    _asked("a surrogate in UTF-8", "the request is not UTF-8 text", "-", stdin=b"\xed\xa0\x80"),
    _asked("NUL", "the request holds a NUL character, so it is no text", "-", stdin=b"turn\0on"),
    _asked("NUL alone", "the request holds a NUL character", "-", stdin=bytes(1000)),
    _asked("a large input", "standard input is longer than 1048576 bytes; ask for less at once", "-", stdin=b"x" * 2_000_000),
    _asked("an empty stop", "a stop string is empty, and would end every answer at once; leave --stop out", "--stop", "", "x"),
    _asked("one empty stop of two", "a stop string is empty", "--stop", "a", "--stop", "", "x"),
    _asked("a stop that is not UTF-8", "the stop string is not UTF-8 text", "--stop", _NOT_UTF8, "x"),
    _asked("a system message that is not UTF-8", "the system message is not UTF-8 text", "--system", _NOT_UTF8, "x"),
    _asked("a system message of half a pair", "the system message is not UTF-8 text", "--system", "\udfff", "x"),
    _asked("a temperature in words", "Invalid value for '--temperature'", "--temperature", "hot", "x", status=2),
    _asked("a cold temperature", "Invalid value for '--temperature'", "--temperature", "-1", "x", status=2),
    _asked("a temperature without a number", "Invalid value for '--temperature'", "--temperature", "nan", "x", status=2),
    _asked("a share without a number", "Invalid value for '--top-p'", "--top-p", "nan", "x", status=2),
    _asked("no share", "top_p must be a number above 0 and at most 1", "--top-p", "0", "x"),
    _asked("a share above one", "Invalid value for '--top-p'", "--top-p", "1.5", "x", status=2),
    _asked("too many candidates", "top_k must be a whole number from 0 to 1048576", "--top-k", "9999999", "x"),
    _asked("a long count of candidates", "top_k must be a whole number", "--top-k", "9" * 400, "x"),
    _asked("a negative seed", "Invalid value for '--seed'", "--seed", "-1", "x", status=2),
    _asked("a wide seed", "Invalid value for '--seed'", "--seed", str(2**64), "x", status=2),
    _asked("a seed of 5000 digits", "Invalid value for '--seed'", "--seed", "9" * 5000, "x", status=2),
    _asked("no tokens", "'max_tokens' must be from 1 to 1e+06, not 0", "--max-tokens", "0", "x"),
    _asked("no credit", "'credit' must be from 1 to 10000, not 0", "--credit", "0", "x"),
    _asked("many threads", "'threads' must be from 0 to 256, not 1000000", "--threads", "1000000", "x"),
    _asked("long drafts", "'draft_length' must be from 1 to 64, not 65", "--draft-length", "65", "x"),
    _asked("no such mode", "'mode' must be one of speculate, stream, auto, not 'fast'", "--mode", "fast", "x"),
    _asked("a mode in markup", "not '[bold]'", "--mode", "[bold]", "x"),
    _asked("a name in two lines", "the node name 'a\\nb' must be", "--name", "a\nb", "x"),
    _asked("an option of the hub", "No such option: --kv-memory", "--kv-memory", "1G", "x", status=2),
)  # fmt: skip


@rows(*_REQUESTS)
def test_a_request(case: Case, tmp_path: Path) -> None:
    check(case, app, tmp_path, "ask")


_CHATS = (
    _asked("an empty stop", "a stop string is empty", "--stop", ""),
    _asked("a system message that is not UTF-8", "the system message is not UTF-8 text", "--system", _NOT_UTF8),
    _asked("a request", "Got unexpected extra argument", "hello", status=2),
    _asked("a pair in markup", "'[bold]x[/]' is not a pair", "--pair", "[bold]x[/]"),
    _asked("no broker", "no MQTT broker answers at 127.0.0.1:1"),
)


@rows(*_CHATS)
def test_a_chat(case: Case, tmp_path: Path) -> None:
    said = check(case, app, tmp_path, "chat")
    if "markup" in case.name:
        assert "pair [bold]x[/]" in said.out


_DOCTOR = (
    _asked("no broker", "broker: \n  problem: no MQTT broker answers at 127.0.0.1:1", "--json"),
    _asked("a pair in markup", "draft: \n  problem: '[/]' is not a pair", "--json", "--pair", "[/]"),
    _asked("a name in markup", "hub: \n  problem: the node name '[/]' must be", "--json", "--name", "[/]"),
)


@rows(*_DOCTOR)
def test_the_doctor(case: Case, tmp_path: Path) -> None:
    check(case, app, tmp_path, "doctor")


@pytest.mark.parametrize("typed", [["aks"], ["--foo"], ["ask", "--json=3", "x"]])
def test_what_is_no_command_line_is_said_in_one_line(typed: list[str], tmp_path: Path) -> None:
    said = check(Case("", "sled-node: ", tuple(typed), status=2), app, tmp_path)
    assert said.err.count("\n") == 1
