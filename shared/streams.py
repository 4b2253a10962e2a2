"""Standard input, output and error, whatever they are: closed, full, gone, or of another encoding than UTF-8."""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import Any, TextIO

from shared.errors import OutputLost

_FLAGS = {"stdin": os.O_RDONLY, "stdout": os.O_RDONLY, "stderr": os.O_WRONLY}  # a closed output is no place to write to
_SIZES = ("COLUMNS", "LINES")


def prepare() -> None:
    """Make the three streams safe to use.

    What is closed gets the null device, before a socket or file takes its number: input is then empty, error is dropped, and
    writing to output fails. What an encoding lacks is escaped. Sizes of a terminal that are no sizes are forgotten.
    """
    for number, (name, flags) in enumerate(_FLAGS.items()):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=errors)
    for size in _SIZES:
        if not re.fullmatch("[1-9][0-9]{0,3}", os.environ.get(size, "80")):
            del os.environ[size]


def put(text: str) -> None:
    """Write `text` to standard output at once. Raises OutputLost, and BrokenPipeError where its reader has gone."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputLost(f"standard output can't be written: {error.strerror}") from None


def put_line(text: str) -> None:
    """Write `text` and a line feed as `put` does."""
    put(f"{text}\n")


def put_json(value: Any) -> None:
    """Write `value` as JSON in a line: readable where the encoding has its characters, valid everywhere. Raises as `put` does."""
    line = json.dumps(value, ensure_ascii=False)
    try:
        line.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        line = json.dumps(value)
    put_line(line)


def note(text: str) -> None:
    """Write a line to standard error, where that can be done: what can't be said there changes nothing."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:
        drop(sys.stderr)


def drop(stream: TextIO) -> None:
    """Send what is left in the stream to the null device: the interpreter would complain about it at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
