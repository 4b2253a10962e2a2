"""Names, folders, ports and bundles that are not what `sled-hub init-broker`, `enroll`, `rotate`, `revoke` and `join` want."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from edge_node.cli import app as node
from hub.cli import app as hub
from tests.odd_inputs.case import Case, Content, check, judge, rows, run

_NO_BROKER = "no MQTT broker answers at 127.0.0.1:1"
_CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles are written where the command is typed."""
    monkeypatch.chdir(tmp_path)


def _large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(500 * 2**20)
    path.chmod(0o600)


_NEW = ("--out={here}/b",)
_FIRST = (
    Case("a node that leads out", "the node's name '../x' must be 1 to 64 letters", (*_NEW, "--node", "../x")),
    Case("a node without a name", "the node's name '' must be 1 to 64 letters", (*_NEW, "--node", "")),
    Case("a hub in markup", "the hub's name '[bold]' must be 1 to 64 letters", (*_NEW, "--hub", "[bold]")),
    Case("a node with a wildcard", "the node's name '+' must be 1 to 64 letters", (*_NEW, "--node", "+")),
    Case("a long name", "the node's name 'nnnnn", (*_NEW, "--node", "n" * 70_000)),
    Case("a name that is not UTF-8", "the node's name 'k\\udcfcche' must be", (*_NEW, "--node", "k\udcfcche")),
    Case("one name for two", "'den' is enrolled already, as a hub", (*_NEW, "--hub", "den", "--node", "den")),
    Case("one name twice", "'pi' is enrolled already, as a node", (*_NEW, "--node", "pi", "--node", "pi")),
    Case("a host with a space", "'my broker' is neither a host's name nor an address", (*_NEW, "--host", "my broker")),
    Case("no host", "'' is neither a host's name nor an address", (*_NEW, "--host", "")),
    Case("a host in markup", "'[/]' is neither a host's name nor an address", (*_NEW, "--host", "[/]")),
    Case("a host that is not UTF-8", "'\\udcff' is neither a host's name nor an address", (*_NEW, "--host", "\udcff")),
    Case("a long host", "hhh' is neither a host's name nor an address", (*_NEW, "--host", "h" * 70_000)),
    Case("a prefix with a wildcard", "the topic prefix '#' must be levels of letters", (*_NEW, "--prefix", "#")),
    Case("a prefix with an empty level", "the topic prefix 'a//b' must be levels", (*_NEW, "--prefix", "a//b")),
    Case("a port that is none", "Invalid value for '--port'", (*_NEW, "--port", "0"), status=2),
    Case("a port of 5000 digits", "Invalid value for '--port'", (*_NEW, "--port", "9" * 5000), status=2),
    Case("a port in words", "Invalid value for '--certificate-port'", (*_NEW, "--certificate-port", "x"), status=2),
    Case("one port for two", "port 7000 can't be both for passwords and for certificates", (*_NEW, "--port=7000", "--certificate-port=7000")),
    Case("a port that the other has by itself", "port 8884 can't be both", (*_NEW, "--port=8884")),
    Case("the other way round", "port 8883 can't be both", (*_NEW, "--certificate-port=8883")),
    Case("a folder that is a file", "cannot read or write {here}/f: File exists", ("--out={here}/f",), files={"f": ""}),
    Case("a folder below a file", "cannot read or write {here}/f/b: Not a directory", ("--out={here}/f/b",), files={"f": ""}),
    Case("a folder that can't be", "cannot read or write /proc/nothing: No such file", ("--out=/proc/nothing/b",)),
    Case("a folder that can't be written", "cannot read or write /sys/kernel/b:", ("--out=/sys/kernel/b",)),
    Case("a folder with a long name", "File name too long", ("--out=" + "x" * 5000,)),
    Case("a folder of other files", "{here}/b holds other files; name a new or an empty folder", _NEW, files={"b/mine": ""}),
    Case("a bundle that is there", "pi.bundle is there already; remove it", (*_NEW, "--node", "pi"), files={"pi.bundle": ""}),
    Case("a link where the bundle goes", "pi.bundle is there already", (*_NEW, "--node", "pi"), files={"pi.bundle": lambda path: path.symlink_to(path)}),
    Case("another word", "Got unexpected extra argument", (*_NEW, "[/]"), status=2),
)  # fmt: skip


@rows(*_FIRST)
def test_a_new_broker(case: Case, tmp_path: Path) -> None:
    check(case, hub, tmp_path, "init-broker")
    assert not (tmp_path / "b" / "users.json").exists()


def _damaged(name: str, file: str, content: Content, says: str) -> Case:
    return Case(name, says, ("enroll", "n2", "--folder={here}/b"), files={f"b/{file}": content})


_REGISTER = '{"schema": 1, "host": "h", "port": 1, "certificate_port": 2, "prefix": "sled", "users": {}, "certificates": {}, "revoked": {}}'
_AGAIN = ("init-broker", "--out={here}/b")
_THERE = (
    Case("another prefix", "this broker's prefix is sled, and devices have it in their bundles", (*_AGAIN, "--prefix", "x")),
    Case("another port", "this broker's port is 8883, and devices have it", (*_AGAIN, "--port", "7")),
    Case("another role", "'pi' is enrolled already, as a node", (*_AGAIN, "--hub", "pi")),
    Case("a name that is taken", "'pi' is enrolled already, as a node; `sled-hub rotate pi`", ("enroll", "pi", "--folder={here}/b", "--out=new")),
    Case("an odd name", "the name 'a/b' must be 1 to 64 letters", ("enroll", "a/b", "--folder={here}/b")),
    Case("no name", "Missing argument 'name'", ("enroll", "--folder={here}/b"), status=2),
    Case("no such role", "Invalid value for '--role'", ("enroll", "n2", "--role", "king", "--folder={here}/b"), status=2),
    Case("no such folder", "/nowhere is no broker's folder; make one with `sled-hub init-broker`", ("enroll", "n2", "--folder=/nowhere")),
    Case("a folder that is a file", "{here}/f is no broker's folder", ("enroll", "n2", "--folder={here}/f"), files={"f": ""}),
    Case("a bundle that is there", "{here}/f is there already; remove it", ("enroll", "n2", "--out={here}/f", "--folder={here}/b"), files={"f": ""}),
    Case("a bundle that is a folder", "{here}/b is there already; remove it", ("enroll", "n2", "--out={here}/b", "--folder={here}/b")),
    Case("a bundle nowhere", "cannot write /nowhere/x: No such file or directory; 'n2' is enrolled, `sled-hub rotate n2`", ("enroll", "n2", "--out=/nowhere/x", "--folder={here}/b")),
    Case("a credential for nobody", "nobody is enrolled as 'zzz'; there are: pi", ("rotate", "zzz", "--folder={here}/b")),
    Case("a credential for an odd name", "the name '[/]' must be 1 to 64 letters", ("rotate", "[/]", "--folder={here}/b")),
    Case("an old bundle in its place", "pi.bundle is there already", ("rotate", "pi", "--folder={here}/b")),
    Case("nobody to revoke", "nobody is enrolled as '[bold]'; there are: pi", ("revoke", "[bold]", "--folder={here}/b")),
    Case("nobody by a name that is not UTF-8", "nobody is enrolled as '\\udcff'", ("revoke", "\udcff", "--folder={here}/b")),
    Case("nobody by a long name", "nobody is enrolled as 'xxx", ("revoke", "x" * 70_000, "--folder={here}/b")),
    _damaged("a binary register", "users.json", bytes(range(256)), "the broker's file {here}/b/users.json is not UTF-8 text"),
    _damaged("a deep register", "users.json", "[" * 100_000, "the register of users is damaged (RecursionError"),
    _damaged("a large register", "users.json", _large, "the broker's file {here}/b/users.json is larger than 67108864 bytes"),
    _damaged("a register that is a pipe", "users.json", os.mkfifo, "the broker's file {here}/b/users.json is not a regular file"),
    _damaged("a register that is a folder", "users.json", Path.mkdir, "the broker's file {here}/b/users.json is a folder"),
    _damaged("an empty register", "users.json", "{}", "the register of users is damaged (KeyError: 'schema')"),
    _damaged("a register of tomorrow", "users.json", '{"schema": 2}', "the register has schema 2; this version reads 1"),
    _damaged("a register with a number as its host", "users.json", _REGISTER.replace('"h"', "7"), "the register of users is damaged (TypeError: host is no str)"),
    _damaged("a register with an unknown role", "users.json", _REGISTER.replace('"users": {}', '"users": {"a": "king"}'), "'king' is not a valid Role"),
    _damaged("a binary key", "ca.key", bytes(range(256)), "the broker's file {here}/b/ca.key is not UTF-8 text"),
    _damaged("a key that is none", "ca.key", "key", "a file in {here}/b is damaged ("),
)  # fmt: skip


def _init_broker(here: Path, *more: str) -> None:
    made = run(hub, ["init-broker", f"--out={here}/b", "--host=127.0.0.1", "--node=pi", *more])
    assert (made.status, made.err) == (0, "")


@rows(*_THERE)
def test_a_broker_that_is_there(case: Case, tmp_path: Path) -> None:
    _init_broker(tmp_path)
    for name in case.files:
        (tmp_path / name).unlink(missing_ok=True)
    check(case, hub, tmp_path)


@pytest.mark.parametrize("content", [b"\xff", b"1", b"0", b"-1", b"9" * 60, b"9" * 5000, "²".encode()])
def test_a_file_with_another_process_ends_nobody(content: bytes, tmp_path: Path) -> None:
    _init_broker(tmp_path)
    (tmp_path / "pid").write_bytes(content)
    os.mkfifo(tmp_path / "pipe")
    for file in ("pid", "pipe"):
        said = run(hub, ["enroll", file, f"--folder={tmp_path}/b", f"--pid-file={tmp_path}/{file}"])
        judge(said, 0, "")
        assert "let mosquitto read the files: systemctl reload mosquitto" in said.out


_FIELDS = {
    "name": '"pi"',
    "role": '"node"',
    "host": '"127.0.0.1"',
    "port": "1",
    "prefix": '"sled"',
    "ca": '"""' + _CERTIFICATE + '"""',
    "password": '"secret-word"',
}


def _bundle(changes: dict[str, str]) -> str:
    return "".join(f"{key} = {value}\n" for key, value in (_FIELDS | changes).items() if value)


def _as(name: str, content: Content, says: str) -> Case:
    return Case(name, says, ("{here}/pi.bundle",), files={"pi.bundle": content})


def _with(name: str, says: str, /, **changes: str) -> Case:
    return _as(name, _bundle(changes), says)


_NONE = "{here}/pi.bundle is not a bundle, or it is damaged; make one with: sled-hub enroll"
_WHOLE = _bundle({})
_BUNDLES = (
    Case("nothing typed", "Missing argument 'bundle'", status=2),
    Case("no such file", "cannot read the bundle /nowhere: No such file", ("/nowhere",)),
    Case("a long name", "File name too long", ("x" * 5000,)),
    _as("binary", bytes(range(256)), "the bundle {here}/pi.bundle is not UTF-8 text"),
    _as("huge", _large, "the bundle {here}/pi.bundle is larger than 65536 bytes"),
    _as("a folder", Path.mkdir, "the bundle {here}/pi.bundle is a folder"),
    _as("a pipe", os.mkfifo, "the bundle {here}/pi.bundle is not a regular file"),
    _as("an endless device", lambda path: path.symlink_to("/dev/zero"), "is not a regular file"),
    _as("empty", "", _NONE),
    _as("JSON", '{"name": "pi"}', _NONE),
    _as("deep arrays", "name = " + "[" * 10_000, _NONE),
    _as("deep keys", "a" + ".a" * 20_000 + " = 1", _NONE),
    _as("5000 digits", f"port = {'9' * 5000}", _NONE),
    _as("cut off", _WHOLE[:-3], _NONE),
    _as("readable by others", lambda path: path.write_text(_WHOLE), "others can read {here}/pi.bundle; run: chmod 600 {here}/pi.bundle"),
    _with("a number as a name", _NONE, name="7"),
    _with("text as a port", _NONE, port='"1883"'),
    _with("true as a port", _NONE, port="true"),
    _with("an unknown field", _NONE, wish='"x"'),
    _with("no host", _NONE, host=""),
    _with("a table as a password", _NONE, password="{a = 1}"),
    _with("no credential", "a bundle holds either a password, or a certificate and its key", password=""),
    _with("two credentials", "a bundle holds either a password", certificate='"x"', key='"y"'),
    _with("a name that leads out", "the name in the bundle '../x' must be 1 to 64 letters", name='"../x"'),
    _with("a prefix with a wildcard", "the topic prefix '#' must be levels", prefix='"#"'),
    _with("another role", "is of hub 'pi'; a node's is made with: sled-hub enroll NAME --role node", role='"hub"'),
    _with("a role in markup", "is of [/] 'pi'; a node's is made with", role='"[/]"'),
    _with("a port that is none", "'broker_port' must be from 1 to 65535, not 0", port="0"),
    _with("a host with NUL", "'broker_host' must be without control characters", host='"a\\u0000b"'),
    _with("an empty host", "'broker_host' must be a host's name or address, not ''", host='""'),
    _with("no certificate", "holds no certificate in PEM", ca='"x"'),
    _with("a certificate that is none", "cannot read the CA certificate", ca='"""' + _CERTIFICATE + '"""'),
)  # fmt: skip


@rows(*_BUNDLES)
def test_a_bundle(case: Case, tmp_path: Path) -> None:
    said = check(case, node, tmp_path, "join")
    assert "secret-word" not in said.out + said.err
    assert not (tmp_path / "home" / ".config").exists() or not list((tmp_path / "home" / ".config" / "sled").iterdir())


_CONFIGS = (
    Case("no broker", _NO_BROKER, ()),
    Case("settings below a file", "cannot write {here}/f: File exists", ("--config={here}/f/x.toml",), files={"f": ""}),
    Case("settings that are a folder", "the settings file {here}/d is a folder", ("--config={here}/d",), files={"d": Path.mkdir}),
    Case("settings at the root", "the settings file / is a folder", ("--config=/",)),
    Case("settings that are a pipe", "the settings file {here}/p is not a regular file", ("--config={here}/p",), files={"p": os.mkfifo}),
    Case("binary settings", "the settings file {here}/x is not UTF-8 text", ("--config={here}/x",), files={"x": bytes(range(256))}),
    Case("deep settings", "{here}/x is not valid TOML: it nests too deep", ("--config={here}/x",), files={"x": "name = " + "[" * 10_000}),
    Case("large settings", "the settings file {here}/x is larger than 65536 bytes", ("--config={here}/x",), files={"x": _large}),
    Case("settings of another name", "{here}/x overrules the bundle: take name out of it", ("--config={here}/x",), files={"x": "name = 'n2'"}),
    Case("settings of another broker", "take broker.host, broker.port out of it", ("--config={here}/x",), files={"x": "[broker]\nhost = 'x'\nport = 7"}),
    Case("settings with a long name", "'config' must have at most 4095 bytes, not 5000", ("--config", "x" * 5000)),
    Case("settings that are not UTF-8", "'config' must be UTF-8 text", ("--config={here}/\udcff",)),
    Case("settings in colours", "'config' must be without control characters", ("--config={here}/\x1b[31m",)),
    Case("settings that can't be", "cannot write /proc/nothing: No such file", ("--config=/proc/nothing/x.toml",)),
)  # fmt: skip


@rows(*_CONFIGS)
def test_settings_for_a_bundle(case: Case, tmp_path: Path) -> None:
    _init_broker(tmp_path, "--port=1")
    check(case, node, tmp_path, "join", "pi.bundle")
    assert not list(tmp_path.rglob("*.password"))


def test_a_node_is_no_hub(tmp_path: Path) -> None:
    _init_broker(tmp_path)
    judge(run(hub, ["join", "pi.bundle"]), 1, "pi.bundle is of node 'pi'; a hub's is made with")


def test_a_user_without_a_home_names_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _init_broker(tmp_path, "--port=1")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", _unknown)
    judge(run(node, ["join", "pi.bundle"]), 1, "this user has no home folder; name a settings file with --config")
    judge(run(node, ["join", "pi.bundle", "--config=x.toml"]), 1, _NO_BROKER)


def _unknown(uid: int) -> object:
    raise KeyError(f"getpwuid(): uid not found: {uid}")
