"""Disks without room: each command says so and ends, leaves no part of a file, and does its work once there is room."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_node.cli import app as node
from edge_node.drafting.calibration import Calibration
from edge_node.drafting.drafter import Guess
from hub.cli import app as hub
from hub.enrolment.access import Role
from hub.enrolment.broker_folder import BrokerFolder
from tests.full_disk import full_disk
from tests.odd_inputs.case import judge, run
from tools.access.trial import serving
from tools.rig.broker import free_port

_ROOM = (0, 150, 300)  # bytes of a file that can be written: none, or some of the files whole
_COMMANDS = (
    ("init-broker", "--out=c", "--host=127.0.0.1", "--node=attic"),
    ("init-broker", "--out=b", "--host=::1"),
    ("enroll", "attic", "--folder=b"),
    ("enroll", "attic", "--client-certificate", "--folder=b"),
    ("rotate", "pi", "--folder=b", "--out=new"),
    ("rotate", "pico", "--folder=b", "--out=new"),
    ("revoke", "pi", "--folder=b"),
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder() -> BrokerFolder:
    """A broker that knows node `pi` by a password and node `pico` by a certificate."""
    made = BrokerFolder(Path("b"))
    made.create(["127.0.0.1"], "sled", free_port(), free_port())
    made.enroll("pi", Role.NODE, certificate=False)
    made.enroll("pico", Role.NODE, certificate=True)
    return made


@pytest.mark.parametrize("room", _ROOM)
@pytest.mark.parametrize("command", _COMMANDS, ids=" ".join)
def test_a_command_on_a_full_disk(command: tuple[str, ...], room: int, folder: BrokerFolder) -> None:
    with full_disk(room):
        said = run(hub, [*command])
    judge(said, 1, "File too large")
    assert said.err.count("\n") == 1
    assert not [path for path in Path().rglob("*") if path.name.startswith(".")], "a part of a file is left"
    folder.register()  # whole
    for bundle in Path().glob("*.bundle"):
        bundle.unlink()
    again = run(hub, _again(command, said.err))
    assert (again.status, again.err) == (0, "")


def _again(command: tuple[str, ...], said: str) -> list[str]:
    """What the person types then: the same, or what the sentence says where the bundle alone is missing."""
    if "is enrolled, `sled-hub rotate" not in said:
        return [*command]
    name = said.partition("`sled-hub rotate ")[2].partition("`")[0]
    return ["rotate", name, f"--folder={'c' if '--out=c' in command else 'b'}"]


@pytest.mark.parametrize("room", [0, 300])
def test_joining_on_a_full_disk_keeps_the_credential_of_before(room: int, folder: BrokerFolder, tmp_path: Path) -> None:
    Path("attic.bundle").touch(mode=0o600)
    Path("attic.bundle").write_text(folder.enroll("attic", Role.NODE, certificate=True).text())
    home = tmp_path / "home"
    home.mkdir()
    join = ["join", "attic.bundle", f"--config={home}/node.toml"]
    with serving(folder, tmp_path):
        assert run(node, join).status == 0
        before = {path: path.read_bytes() for path in home.iterdir()}
        Path("attic.bundle").write_text(folder.rotate("attic").text())
        with full_disk(room):
            judge(run(node, join), 1, "File too large")
        assert {path: path.read_bytes() for path in home.iterdir()} == before


def test_what_was_learnt_is_kept_whole_or_not_at_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    calibration, file = Calibration(), tmp_path / "cache" / "calibration.json"
    calibration.save(file)
    before = file.read_bytes()
    calibration.learn(Guess(3, 0.5, "model"), 3)
    with full_disk(10):
        calibration.save(file)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.read_bytes() == before
    assert "is not kept" in caplog.text
