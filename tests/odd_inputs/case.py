"""A row of the tables of odd inputs, and how it is run: in this process, with streams and environment of its own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO, TextIOWrapper
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

LONGEST = 600  # characters of a line
Content = bytes | str | Callable[[Path], object]  # what is in a file, or what makes it


@dataclass(frozen=True)
class Case:
    """`args` and `says` may hold {here}: the folder in which `files` are made."""

    name: str
    says: str
    args: tuple[str, ...] = ()
    status: int = 1
    files: Mapping[str, Content] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""


@dataclass(frozen=True)
class Said:
    """What a program did."""

    status: int
    out: str
    err: str


def rows(*cases: Case) -> pytest.MarkDecorator:
    """Parametrize a test by `case`; names must differ."""
    assert len({case.name for case in cases}) == len(cases)
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases])


def make(files: Mapping[str, Content], here: Path) -> None:
    """Make the files of a case."""
    for name, content in files.items():
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            path.chmod(0o600)


def check(case: Case, program: Callable[..., Any], here: Path, *before: str) -> Said:
    """Run `case` with the arguments `before` its own, and look at what it said."""
    make(case.files, here)
    args = [arg.replace("{here}", str(here)) for arg in (*before, *case.args)]
    env = {key: value.replace("{here}", str(here)) for key, value in case.env.items()}
    said = run(program, args, {"HOME": str(here / "home"), **env}, case.stdin)
    judge(said, case.status, case.says.replace("{here}", str(here)))
    return said


def judge(said: Said, status: int, says: str) -> None:
    """It ended with that status and says that; it has no trace, no mistake of its own and no endless line."""
    assert says in said.err, said
    assert said.status == status, said
    for text in (said.out, said.err):
        assert "Traceback" not in text
        assert "mistake in the program" not in text
        assert max(map(len, text.split("\n"))) <= LONGEST


def run(
    program: Callable[..., Any], args: list[str], env: Mapping[str, str] = MappingProxyType({}), stdin: bytes = b""
) -> Said:
    """Call the program in this process."""
    out, err = BytesIO(), BytesIO()
    with _own(env, stdin, out, err), pytest.raises(SystemExit) as ended:
        program(args, prog_name="sled")
    assert isinstance(ended.value.code, int)
    return Said(ended.value.code, out.getvalue().decode(), err.getvalue().decode())


@contextmanager
def _own(env: Mapping[str, str], stdin: bytes, out: BytesIO, err: BytesIO) -> Iterator[None]:
    streams = sys.stdin, sys.stdout, sys.stderr
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    environment = dict(os.environ)
    sys.stdin = TextIOWrapper(BytesIO(stdin), "utf-8")
    sys.stdout = TextIOWrapper(out, "utf-8", write_through=True)
    sys.stderr = TextIOWrapper(err, "utf-8", errors="backslashreplace", write_through=True)
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        for stream in (sys.stdout, sys.stderr):
            stream.detach()  # what is below stays open
        sys.stdin, sys.stdout, sys.stderr = streams
        for number, handler in handlers.items():
            signal.signal(number, handler)
