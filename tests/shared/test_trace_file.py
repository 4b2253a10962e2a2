"""The file of a trace: what comes back of what was noted, whatever became of the program, the disk or the file."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from shared.errors import SettingsError
from shared.trace_file import MAGIC, Event, TraceFile
from tests.full_disk import full_disk
from tools.trace.records import Committed, Drafted, Planned, read

SESSION = bytes(range(8))


def note(file: TraceFile, number: int) -> None:
    file.note(Event.COMMITTED, SESSION, number, 10 * number, time.monotonic_ns(), 3)


def test_records_come_back_as_they_were_noted(tmp_path: Path) -> None:
    before = time.monotonic_ns()
    file = TraceFile(tmp_path / "t", "node", "pi")
    file.note(Event.DRAFTED, SESSION, 5, 2**63, 1)
    file.note(Event.PLANNED, 7, 8, 2)
    file.close()
    note(file, 1)  # too late, and no harm
    file.close()
    trace = read(tmp_path / "t")
    assert (trace.head.side, trace.head.name, trace.cut) == ("node", "pi", False)
    assert before <= trace.head.began_ns <= time.monotonic_ns()
    assert trace.records == (Drafted(SESSION, 5, 2**63, 1), Planned(7, 8, 2))
    assert (tmp_path / "t").stat().st_mode & 0o777 == 0o600


def test_an_older_trace_is_replaced_and_anything_else_left(tmp_path: Path) -> None:
    for _ in range(2):
        file = TraceFile(tmp_path / "t", "hub", "den")
        note(file, 1)
        with pytest.raises(SettingsError, match="another program writes the trace"):
            TraceFile(tmp_path / "t", "node", "pi")
        file.close()
        assert len(read(tmp_path / "t").records) == 1
    (tmp_path / "letter").write_text("Dear Ada")
    with pytest.raises(SettingsError, match="is no trace, and is left as it is"):
        TraceFile(tmp_path / "letter", "node", "pi")
    assert (tmp_path / "letter").read_text() == "Dear Ada"


def test_threads_write_whole_records(tmp_path: Path) -> None:
    file = TraceFile(tmp_path / "t", "node", "pi")

    def write() -> None:
        for number in range(2000):
            note(file, number)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()
    rounds = [record.round for record in read(tmp_path / "t").records if isinstance(record, Committed)]
    assert sorted(rounds) == sorted([*range(2000)] * 4)


def test_a_file_is_read_up_to_wherever_it_was_cut(tmp_path: Path) -> None:
    file = TraceFile(tmp_path / "whole", "node", "pi")
    for number in range(6):
        note(file, number)
    head = len((tmp_path / "whole").read_bytes())  # is written at once
    file.close()
    whole, content = read(tmp_path / "whole"), (tmp_path / "whole").read_bytes()
    cuts = []
    for end in range(head, len(content)):
        (tmp_path / "cut").write_bytes(content[:end])
        trace = read(tmp_path / "cut")
        assert trace.records == whole.records[: len(trace.records)]
        cuts.append((len(trace.records), trace.cut))
    assert cuts == sorted(cuts)
    assert {count for count, _ in cuts} == set(range(6))
    assert [is_cut for _, is_cut in cuts].count(False) == 6, "it was cut between two records"


def test_a_killed_program_leaves_what_it_did_up_to_a_second_before(tmp_path: Path) -> None:
    code = f"""
import os, time
from pathlib import Path
from shared.trace_file import Event, TraceFile
file = TraceFile(Path({str(tmp_path / "t")!r}), "hub", "den")
for number in range(5000):
    file.note(Event.COMMITTED, bytes(8), number, 0, time.monotonic_ns(), 1)
time.sleep(1.1)
file.note(Event.COMMITTED, bytes(8), 5000, 0, time.monotonic_ns(), 1)
file.note(Event.COMMITTED, bytes(8), 5001, 0, time.monotonic_ns(), 1)
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    rounds = [record.round for record in read(tmp_path / "t").records if isinstance(record, Committed)]
    assert rounds == list(range(5001))


def test_a_file_ends_at_its_bound_and_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = TraceFile(tmp_path / "t", "hub", "den", most_bytes=200_000)
    for number in range(20_000):
        note(file, number)
    file.close()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "as many as it may have, and ends here" in caplog.text
    assert 100_000 < (tmp_path / "t").stat().st_size <= 200_000
    trace = read(tmp_path / "t")
    assert not trace.cut
    assert len(trace.records) > 2000


def test_a_full_disk_ends_the_trace_and_not_the_program(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with full_disk(50_000):
        file = TraceFile(tmp_path / "t", "hub", "den")
        for number in range(5000):
            note(file, number)
        file.close()
    assert [record.message for record in caplog.records] == [f"the trace {tmp_path / 't'} ends here: File too large"]
    trace = read(tmp_path / "t")
    assert trace.cut
    assert [record.round for record in trace.records if isinstance(record, Committed)] == list(
        range(len(trace.records))
    )
    assert len(trace.records) > 1000


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is no trace: it does not begin with 'SLED trace 1'"),
        (b"SLED trace 2\n", "does not begin with 'SLED trace 1'"),
        (MAGIC, "it has no head"),
        (MAGIC + b"\x01", "it has no head"),
        (MAGIC + b"\x84\xa4side\xa3pet\xa4name\xa1x\xa8began_ns\x01\xa7wall_ns\x01", "it is of neither node nor hub"),
        (MAGIC + b"\x84\xa4side\xa3hub\xa4name\x01\xa8began_ns\x01\xa7wall_ns\x01", "its head is none"),
        (MAGIC + b"\x84\xa4side\xa3hub\xa4name\xa1x\xa8began_ns\x01\xa7wall_ns\x01\x94\x06\x01\x02\xa1x", "a record Planned has other fields"),
        (MAGIC + b"\x84\xa4side\xa3hub\xa4name\xa1x\xa8began_ns\x01\xa7wall_ns\x01\x91\x63", "there is no such record"),
        (MAGIC + b"\x84\xa4side\xa3hub\xa4name\xa1x\xa8began_ns\x01\xa7wall_ns\x01\x94\x07\x01\x02\x91\x01", "a record Row has other fields"),
        (MAGIC + b"\x84\xa4side\xa3hub\xa4name\xa1x\xa8began_ns\x01\xa7wall_ns\x01\xc1", "is damaged before its byte"),
        (MAGIC + b"\x84\xa4side\xa3hub\xa4name\xa1x\xa8began_ns\x01\xa7wall_ns\x01" + b"\x91" * 5000, "is damaged before its byte"),
        (MAGIC + b"\x84\xa4side\xa3hub\xa4name\xa1x\xa8began_ns\x01\xa7wall_ns\x01\xdd\xff\xff\xff\xff", "is damaged before its byte"),
    ],
)  # fmt: skip
def test_what_is_no_trace_is_told_in_a_sentence(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(RuntimeError) as raised:
        read(tmp_path / "t")
    assert says in str(raised.value)
    assert str(tmp_path / "t") in str(raised.value)
