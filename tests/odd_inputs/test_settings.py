"""Settings files, environment variables, options and password files that are not what they should be."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from edge_node.cli import app as node
from hub.cli import app as hub
from tests.odd_inputs.case import Case, Content, check, rows


def _large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(500 * 2**20)  # takes no room on the disk


def _written(name: str, content: Content, says: str) -> Case:
    return Case(name, says, files={"f.toml": content})


_FILES = (
    _written("binary", bytes(range(256)) * 8, "the settings file {here}/f.toml is not UTF-8 text"),
    _written("zeros", bytes(64), "not valid TOML"),
    _written("Latin-1", b'# K\xfcche\nname = "n1"\n', "is not UTF-8 text (byte 4); save it as UTF-8"),
    _written("UTF-16", "name = 'n1'".encode("utf-16"), "is not UTF-8 text"),
    _written("large", _large, "the settings file {here}/f.toml is larger than 65536 bytes"),
    _written("long", b"#" * 70_000, "is larger than 65536 bytes"),
    _written("a folder", Path.mkdir, "the settings file {here}/f.toml is a folder; name a file in it"),
    _written("a pipe", os.mkfifo, "the settings file {here}/f.toml is not a regular file"),
    _written("an endless device", lambda path: path.symlink_to("/dev/zero"), "is not a regular file"),
    _written("a broken link", lambda path: path.symlink_to("nothing"), "cannot read the settings file {here}/f.toml: No such file"),
    _written("a link to itself", lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    _written("below a file", lambda path: None, "No such file"),
    _written("deep arrays", "name = " + "[" * 10_000 + "]" * 10_000, "not valid TOML: it nests too deep"),
    _written("deep tables", "name = " + "{a=" * 10_000 + "1" + "}" * 10_000, "it nests too deep"),
    _written("deep keys", "a" + ".a" * 20_000 + " = 1", "it nests too deep"),
    _written("a deep header", "[a" + ".a" * 20_000 + "]", "it nests too deep"),
    _written("not TOML", "name = ", "not valid TOML: Invalid value"),
    _written("JSON", '{"name": "n1"}', "not valid TOML"),
    _written("twice", "name = 'a'\nname = 'b'", "not valid TOML: Cannot overwrite a value"),
    _written("an unfinished text", "name = 'a", "not valid TOML"),
    _written("5000 digits", f"threads = {'9' * 5000}", "not valid TOML: Exceeds the limit"),
    _written("20,000 hexadecimal digits", f"threads = 0x{'f' * 20_000}", "'threads' must be from 0 to 256, not a number of thousands"),
    _written("400 digits as a float", f"wait_s = {'9' * 400}", "'wait_s' must be a number, not 999"),
    _written("a date", "name = 2020-01-01", "'name' must be text, not datetime.date(2020, 1, 1)"),
    _written("a time", "[broker]\nhost = 07:32:00", "'broker_host' must be text, not datetime.time"),
    _written("a number as a name", "name = 7", "'name' must be text, not 7"),
    _written("a list as a name", "name = ['n1']", "'name' must be text, not ['n1']"),
    _written("a long list", f"name = {['n'] * 3000}", "'name' must be text, not ['n'"),
    _written("text as a number", "threads = 'many'", "'threads' must be a whole number, not 'many'"),
    _written("a float as a whole number", "threads = 1.5", "'threads' must be a whole number, not 1.5"),
    _written("true as a number", "wait_s = true", "'wait_s' must be a number, not True"),
    _written("a number as true", "ahead = 1", "'ahead' must be true or false, not 1"),
    _written("a number as a path", "[broker]\npassword_file = 3", "'broker_password_file' must be a path, not 3"),
    _written("no number", "wait_s = nan", "'wait_s' must be from 0 to 1e+06, not nan"),
    _written("endless", "hub_timeout_s = inf", "'hub_timeout_s' must be from 0.1 to 3600, not inf"),
    _written("a hub's loss", "on_hub_loss = 'panic'", "'on_hub_loss' must be one of wait, draft, stop, not 'panic'"),
    _written("less than nothing", "threads = -1", "'threads' must be from 0 to 256, not -1"),
    _written("one of few", "mode = 'fast'", "'mode' must be one of speculate, stream, auto, not 'fast'"),
    _written("a list of few", "mode = ['auto']", "must be one of speculate, stream, auto, not ['auto']"),
    _written("a misspelt key", "draft_lenght = 3", "unknown setting 'draft_lenght'; did you mean 'draft_length'?"),
    _written("an unknown key", "zzz = 3", "unknown setting 'zzz'; there are: ahead, asks_back, at_once, broker,"),
    _written("an empty key", "'' = 3", "unknown setting ''; there are:"),
    _written("a long key", f"{'k' * 3000} = 1", "unknown setting 'kkk"),
    _written("a key with a tab", '"na\\tme" = 1', "unknown setting 'na\\tme'; did you mean 'name'?"),
    _written("a misspelt table", "[brokr]\nhost = 'x'", "unknown setting 'brokr'; did you mean 'broker'?"),
    _written("a misspelt key in a table", "[broker]\nhots = 'x'", "unknown setting 'hots' in [broker]; did you mean 'host'?"),
    _written("a table where a value is wanted", "[name]\nx = 1", "'name' must be text, not {'x': 1}"),
    _written("an empty table where a value is wanted", "name = {}", "'name' must be text, not {}"),
    _written("a table in a table", "[broker.host]\nx = 1", "'broker_host' must be text, not {'x': 1}"),
    _written("a value where a table is wanted", "broker = 'x'", "'broker' is a table; write [broker]"),
    _written("a list of tables", "[[broker]]\nhost = 'x'", "'broker' is a table; write [broker]"),
    _written("a key that takes a table along", "broker_host = 'x'", "unknown setting 'broker_host'; did you mean 'broker'?"),
    _written("an empty host", "[broker]\nhost = ''", "'broker_host' must be a host's name or address, not ''"),
    _written("a host with NUL", '[broker]\nhost = "a\\u0000b"', "'broker_host' must be without control characters"),
    _written("a host with a space", "[broker]\nhost = 'my broker'", "must be a host's name or address, not 'my broker'"),
    _written("a host with points alone", "[broker]\nhost = '..'", "must be a host's name or address, not '..'"),
    _written("a host with a long label", f"[broker]\nhost = '{'a' * 70}'", "must be a host's name or address"),
    _written("a long host", f"[broker]\nhost = '{'a.' * 200}'", "'broker_host' must have at most 253 bytes, not 400"),
    _written("a user with a line feed", '[broker]\nusername = "a\\nb"', "'broker_username' must be without control characters"),
    _written("a path with NUL", '[broker]\npassword_file = "a\\u0000b"', "no file has such a name"),
    _written("the home of nobody", "[broker]\npassword_file = '~nobody-has-this/x'", "must be a path, not '~nobody-has-this/x'"),
    _written("a name in markup", "name = '[bold]x[/]'", "the node name '[bold]x[/]' must be 1 to 64 letters"),
    _written("a name in colours", 'name = "\\u001b[31mx"', "the node name '\\x1b[31mx' must be"),
    _written("a prefix with a wildcard", "[broker]\nprefix = 'haus/+'", "the topic prefix 'haus/+' must be levels"),
    _written("an umlaut", "name = 'küche'", "the node name 'küche' must be"),
)  # fmt: skip


@rows(*_FILES)
def test_a_settings_file(case: Case, tmp_path: Path) -> None:
    check(case, node, tmp_path, "ask", "--config", str(tmp_path / "f.toml"), "--broker-port=1", "x")


_DEFAULTS = (
    Case("the default file is a folder", "node.toml is a folder", files={"home/.config/sled/node.toml": Path.mkdir}),
    Case("the default file is a pipe", "not a regular file", files={"home/.config/sled/node.toml": os.mkfifo}),
    Case("the default file is no TOML", "not valid TOML", files={"home/.config/sled/node.toml": "?"}),
    Case("home is a file", "no MQTT broker answers", env={"HOME": "/etc/passwd"}),
    Case("home is not writable", "no MQTT broker answers", env={"HOME": "/proc"}),
    Case("home is empty", "no MQTT broker answers", env={"HOME": "", "XDG_CACHE_HOME": "/proc"}),
    Case("the cache is a file", "no MQTT broker answers", env={"XDG_CACHE_HOME": "/etc/passwd"}),
    Case("the cache is relative", "no MQTT broker answers", env={"XDG_CACHE_HOME": "cache"}),
    Case("the cache has a NUL byte's look", "no MQTT broker answers", env={"XDG_CACHE_HOME": "/\udcff"}),
    Case("text", "'threads' must be a whole number, not 'x'", env={"SLED_NODE_THREADS": "x"}),
    Case("5000 digits", "'threads' must be a whole number, not '999", env={"SLED_NODE_THREADS": "9" * 5000}),
    Case("nothing", "'threads' must be a whole number, not ''", env={"SLED_NODE_THREADS": ""}),
    Case("nothing as a host", "'broker_host' must be a host's name", env={"SLED_NODE_BROKER_HOST": ""}),
    Case("no number", "from 0 to 1e+06, not nan", env={"SLED_NODE_WAIT_S": "nan"}),
    Case("endless", "from 0 to 1e+06, not inf", env={"SLED_NODE_WAIT_S": "1e999"}),
    Case("neither true nor false", "'ahead' must be true or false, not 'maybe'", env={"SLED_NODE_AHEAD": "maybe"}),
    Case("a misspelt variable", "SLED_NODE_NAEM: unknown setting 'naem'; did you mean 'name'?", env={"SLED_NODE_NAEM": "x"}),
    Case("a password itself", "SLED_NODE_PASSWORD: unknown setting 'password'", env={"SLED_NODE_PASSWORD": "secret"}),
    Case("no key", "SLED_NODE_: unknown setting ''", env={"SLED_NODE_": "x"}),
    Case("a name that is not UTF-8", "the node name '\\udcff' must be", env={"SLED_NODE_NAME": "\udcff"}),
    Case("a host that is not UTF-8", "'broker_host' must be UTF-8 text", env={"SLED_NODE_BROKER_HOST": "\udcff"}),
    Case("a user that is not UTF-8", "'broker_username' must be UTF-8 text", env={"SLED_NODE_BROKER_USERNAME": "\udcff"}),
    Case("a long user", "'broker_username' must have at most 65535 bytes", env={"SLED_NODE_BROKER_USERNAME": "u" * 70_000}),
    Case("a pair that is not UTF-8", "'\\udcff' is not a pair", env={"SLED_NODE_PAIR": "\udcff"}),
    Case("a prefix that is not UTF-8", "the topic prefix '\\udcff' must be", env={"SLED_NODE_BROKER_PREFIX": "\udcff"}),
    Case("a long value", "'mode' must be one of", env={"SLED_NODE_MODE": "m" * 100_000}),
    Case("odd sizes", "no MQTT broker answers", env={"COLUMNS": "²", "LINES": "-4", "TERM": "[/]"}),
)  # fmt: skip


@rows(*_DEFAULTS)
def test_a_home_or_variable(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check(
        case,
        node,
        tmp_path,
        "ask",
        "--broker-host=127.0.0.1" if "host" not in case.name else "-v",
        "--broker-port=1",
        "x",
    )


def _password(name: str, content: Content, says: str) -> Case:
    return Case(name, says, files={"pw": content})


_PASSWORDS = (
    _password("binary", b"p\xfcw", "the password file {here}/pw is not UTF-8 text"),
    _password("nothing", b"", "the password file {here}/pw holds no password"),
    _password("newlines", b"\r\n\n", "the password file {here}/pw holds no password"),
    _password("NUL", b"a\0b", "the password file {here}/pw holds no password"),
    _password("large", _large, "others can read {here}/pw; run: chmod 600 {here}/pw"),
    _password("long", b"p" * 70_000, "the password file {here}/pw is larger than 65535 bytes"),
    _password("a folder", Path.mkdir, "the password file {here}/pw is a folder"),
    _password("a pipe", os.mkfifo, "the password file {here}/pw is not a regular file"),
    _password("the null device", lambda path: path.symlink_to(os.devnull), "others can read {here}/pw"),
    _password("nowhere", lambda path: None, "cannot read the password file {here}/pw: No such file"),
    _password("readable", lambda path: path.write_text("secret"), "others can read {here}/pw; run: chmod 600"),
    _password("a newline behind it", b"secret\r\n", "no MQTT broker answers"),
    _password("a byte order mark before it", b"\xef\xbb\xbfsecret\n", "no MQTT broker answers"),
)  # fmt: skip


@rows(*_PASSWORDS)
def test_a_password_file(case: Case, tmp_path: Path) -> None:
    broker = ("--broker-host=127.0.0.1", "--broker-port=1", "--broker-password-file", str(tmp_path / "pw"))
    said = check(case, node, tmp_path, "ask", *broker, "x")
    assert "secret" not in said.err


def _ca(name: str, content: Content, says: str) -> Case:
    return Case(name, says, files={"ca": content})


_CAS = (
    _ca("binary", bytes(range(256)), "the CA certificate {here}/ca is not UTF-8 text"),
    _ca("nothing", "", "the CA certificate {here}/ca holds no certificate in PEM"),
    _ca("another text", "secret", "the CA certificate {here}/ca holds no certificate in PEM"),
    _ca("a broken certificate", "-----BEGIN CERTIFICATE-----\nü\n-----END CERTIFICATE-----\n", "cannot read the CA certificate {here}/ca"),
    _ca("large", _large, "the CA certificate {here}/ca is larger than 1048576 bytes"),
    _ca("a folder", Path.mkdir, "the CA certificate {here}/ca is a folder"),
    _ca("a pipe", os.mkfifo, "the CA certificate {here}/ca is not a regular file"),
    _ca("nowhere", lambda path: None, "cannot read the CA certificate {here}/ca: No such file"),
)  # fmt: skip


@rows(*_CAS)
def test_a_ca_certificate(case: Case, tmp_path: Path) -> None:
    check(case, node, tmp_path, "ask", "--broker-port=1", "--broker-tls-ca", str(tmp_path / "ca"), "x")


_OPTIONS = (
    Case("no such option", "No such option: --foo; see sled serve --help", ("--foo",), status=2),
    Case("an option without its value", "Option '--name' requires an argument", ("--name",), status=2),
    Case("text as a number", "Invalid value for '--threads'", ("--threads", "[/]"), status=2),
    Case("too much", "Got unexpected extra argument", ("x" * 100_000,), status=2),
    Case("a long number", "'threads' must be from 0 to 1024, not 999", ("--threads", "9" * 400)),
    Case("5000 digits", "Invalid value for '--threads'", ("--threads", "9" * 5000), status=2),
    Case("less than nothing", "'threads' must be from 0 to 1024, not -5", ("--threads", "-5")),
    Case("no number", "'window_ms' must be from 0 to 1000, not nan", ("--window-ms", "nan")),
    Case("a device of another maker", "there is no device 'mps'; use auto, cpu, cuda or cuda:N", ("--device", "mps")),
    Case("a device without data", "there is no device 'meta'", ("--device", "meta")),
    Case("a device of a plugin", "there is no device 'xla'", ("--device", "xla")),
    Case("a processor by number", "there is no device 'cpu:7'", ("--device", "cpu:7")),
    Case("a card by a name", "there is no device 'cuda:x'", ("--device", "cuda:x")),
    Case("a card below the first", "there is no device 'cuda:-1'", ("--device", "cuda:-1")),
    Case("a card of 5000 digits", "there is no device 'cuda:999", ("--device", "cuda:" + "9" * 5000)),
    Case("no device", "there is no device ''", ("--device", "")),
    Case("a device in markup", "there is no device '[/]'", ("--device", "[/]")),
    Case("a device that is not UTF-8", "there is no device '\\udcff'", ("--device", "\udcff")),
    Case("no such dtype", "there is no dtype 'int3'; use one of auto, float32", ("--dtype", "int3")),
    Case("a dtype that torch has", "there is no dtype 'float64'", ("--dtype", "float64")),
    Case("a dtype that is a method", "there is no dtype 'save'", ("--dtype", "save")),
    Case("a size without a number", "a size is a number of bytes, or one with K, M or G such as 512M, not 'much'", ("--kv-memory", "much")),
    Case("a size with an unknown unit", "a size is a number of bytes", ("--kv-memory", "1T")),
    Case("a negative size", "a size is a number of bytes", ("--kv-memory", "-1G")),
    Case("a fraction", "a size is a number of bytes", ("--kv-memory", "1.5G")),
    Case("a long size", "a size is a number of bytes", ("--kv-memory", "9" * 5000)),
    Case("other digits", "'kv_memory' must be from 1.04858e+06", ("--kv-memory", "٣")),
    Case("a small size", "'kv_memory' must be from 1.04858e+06", ("--kv-memory", "1K")),
    Case("a large size", "'kv_memory' must be from 1.04858e+06 to 8.79609e+12", ("--kv-memory", "9999G")),
    Case("a small budget", "'budget' must be from 128 to 1e+06, not 100", ("--budget", "100", "--max-draft", "64")),
    Case("no such choice", "'weights' must be one of auto, int8, int4, not 'int2'", ("--weights", "int2")),
    Case("a name with a slash", "the hub name '../x' must be 1 to 64 letters", ("--name", "../x")),
    Case("a long name", "the hub name 'xxx", ("--name", "x" * 70_000)),
    Case("an empty name", "the hub name '' must be", ("--name", "")),
    Case("settings nowhere", "cannot read the settings file /nowhere: No such file", ("--config", "/nowhere")),
    Case("settings with a long name", "File name too long", ("--config", "x" * 5000)),
    Case("a port that is none", "'broker_port' must be from 1 to 65535, not 0", ("--broker-port", "0")),
    Case("a port that is too wide", "'broker_port' must be from 1 to 65535, not 65536", ("--broker-port", "65536")),
    Case("a port for Prometheus that is too wide", "'metrics_port' must be from 0 to 65535, not 65536", ("--metrics-port", "65536")),
    Case("an address for Prometheus that is none", "can't listen for Prometheus on 999.999.999.999:9820: Name or service", ("--metrics-port", "9820", "--metrics-host", "999.999.999.999")),
    Case("an address for Prometheus with a long label", "can't listen for Prometheus on aaa", ("--metrics-port", "9820", "--metrics-host", "a" * 70)),
    Case("another machine's address for Prometheus", "can't listen for Prometheus on 192.0.2.1:9820: Cannot assign", ("--metrics-port", "9820", "--metrics-host", "192.0.2.1")),
    Case("no such host", "no MQTT broker answers at no-such-host.invalid:1", ("--broker-host", "no-such-host.invalid")),
    Case("an address that is none", "no MQTT broker answers at 999.999.999.999:1", ("--broker-host", "999.999.999.999")),
)  # fmt: skip


@rows(*_OPTIONS)
def test_an_option_of_the_hub(case: Case, tmp_path: Path) -> None:
    check(
        case, hub, tmp_path, "serve", "--broker-host=127.0.0.1", "--broker-port=1", "--threads=1", *(["--kv-memory=8M"])
    )


@rows(
    Case("no such order", "'sort' must be one of load, name, state, not 'x'", ("--sort", "x")),
    Case("a prefix with a wildcard", "the topic prefix '#' must be levels of letters", ("--broker-prefix", "#")),
    Case("a misspelt key", "unknown setting 'sorts'; did you mean 'sort'?", files={"home/.config/sled/fleet.toml": "sorts = 1"}),
    Case("an option of the hub", "No such option: --pair", ("--pair", "home"), status=2),
    Case("no broker", "sled-hub: no MQTT broker answers at 127.0.0.1:1", ("--broker-port=1", "--json")),
    Case("a port of the web page that is none", "'ui_port' must be from 1 to 65535, not 0", ("--ui-port", "0")),
)  # fmt: skip
def test_who_looks_at_a_fleet(case: Case, tmp_path: Path) -> None:
    check(case, hub, tmp_path, "top", "--broker-host=127.0.0.1")


@rows(
    Case("others and no password", "'ui_host' opens the web page to other machines, so 'ui_password_file'", ("--ui-host", "0.0.0.0")),
    Case("no password file", "cannot read the password file /nowhere: No such file", ("--ui-password-file", "/nowhere")),
    Case("an empty password file", "pw holds no password; write it there", ("--ui-password-file", "{here}/pw"), files={"pw": "\n"}),
    Case("a long address", "'ui_host' must have at most 253 bytes", ("--ui-host", "x" * 300)),
    Case("no broker", "sled-hub: no MQTT broker answers at 127.0.0.1:1", ("--broker-port=1",)),
)  # fmt: skip
def test_who_serves_the_web_page(case: Case, tmp_path: Path) -> None:
    check(case, hub, tmp_path, "ui", "--broker-host=127.0.0.1")


def test_more_memory_than_the_machine_has(serving: tuple[str, ...], tmp_path: Path) -> None:
    case = Case("", "kv_memory is 4096.0G, and there is", ("--kv-memory", "4096G"))
    check(case, hub, tmp_path, *serving)


_TRACES = (
    Case("a folder", "the trace {here} is a folder; name a file in it", ("--trace", "{here}")),
    Case("nothing", "the trace . is a folder", ("--trace", "")),
    Case("in a folder that is not there", "can't write the trace {here}/no/t: No such file", ("--trace", "{here}/no/t")),
    Case("in a file", "can't write the trace {here}/t/t: Not a directory", ("--trace", "{here}/t/t"), files={"t": "x"}),
    Case("a letter", "{here}/t is no trace, and is left as it is", ("--trace", "{here}/t"), files={"t": "Dear Ada"}),
    Case("a pipe", "the trace {here}/t is not a regular file", ("--trace", "{here}/t"), files={"t": os.mkfifo}),
    Case("the null device", "the trace /dev/null is not a regular file", ("--trace", os.devnull)),
    Case("NUL", "can't write the trace 'a\\x00b': no file has such a name", files={"home/.config/sled/{program}.toml": 'trace = "a\\u0000b"'}),
    Case("a long name", "File name too long", ("--trace", "x" * 5000)),
    Case("a number", "'trace' must be a path, not 3", files={"home/.config/sled/{program}.toml": "trace = 3"}),
)  # fmt: skip


def _of(program: str, case: Case) -> Case:
    return replace(case, files={name.replace("{program}", program): each for name, each in case.files.items()})


@rows(*_TRACES)
def test_a_trace_of_a_node(case: Case, tmp_path: Path) -> None:
    check(_of("node", case), node, tmp_path, "ask", "--broker-host=127.0.0.1", "--broker-port=1", "x")


@rows(*_TRACES)
def test_a_trace_of_a_hub(case: Case, serving: tuple[str, ...], tmp_path: Path) -> None:
    check(_of("hub", case), hub, tmp_path, *serving)


def _kept(name: str, content: Content) -> Case:
    return Case(
        name,
        "no MQTT broker answers",
        env={"XDG_CACHE_HOME": "{here}"},
        files={"sled/calibration-home-model.json": content},
    )


@rows(
    _kept("binary", bytes(range(256))),
    _kept("deep", "[" * 30_000),
    _kept("5000 digits", f'{{"model": [[{"9" * 5000}, 1]]}}'),
    _kept("large", _large),
    _kept("a folder", Path.mkdir),
    _kept("a pipe", os.mkfifo),
    _kept("a link to itself", lambda path: path.symlink_to(path)),
)
def test_a_calibration_that_is_none_is_done_without(case: Case, tmp_path: Path) -> None:
    check(case, node, tmp_path, "ask", "--broker-host=127.0.0.1", "--broker-port=1", "x")
