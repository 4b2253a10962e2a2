"""Pairs that are not what they should be: manifests, names, tokenizers, templates and tools."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from edge_node.cli import app as node
from hub.cli import app as hub
from shared.pair import load_pair
from tests.odd_inputs.case import Case, Content, check, rows

HOME = load_pair("home").folder
_PARTS = (*(path.name for path in HOME.iterdir() if path.name != "pair.toml"),)
MANIFEST = (HOME / "pair.toml").read_text().split("[sha256]")[0]


def _pair(here: Path) -> Path:
    """The built-in pair in a folder of its own, without hashes; what is large is linked."""
    folder = here / "pair"
    folder.mkdir()
    (folder / "pair.toml").write_text(MANIFEST)
    for part in _PARTS:
        if (HOME / part).is_dir():
            shutil.copytree(HOME / part, folder / part, copy_function=os.link)
        else:
            os.link(HOME / part, folder / part)
    return folder


def _instead(name: str, old: str, new: str, says: str) -> Case:
    """A manifest with `new` in place of `old`."""
    assert old in MANIFEST
    return Case(name, says, files={"pair/pair.toml": MANIFEST.replace(old, new)})


def _whole(name: str, content: Content, says: str) -> Case:
    return Case(name, says, files={"pair/pair.toml": content})


def _large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(500 * 2**20)


_MANIFESTS = (
    _whole("binary", bytes(range(256)), "the manifest {here}/pair/pair.toml is not UTF-8 text"),
    _whole("a byte order mark, and nothing else wrong", b"\xef\xbb\xbf" + MANIFEST.encode(), "no MQTT broker answers"),
    _whole("empty", "", "pair.toml lacks 'schema'"),
    _whole("large", _large, "the manifest {here}/pair/pair.toml is larger than 65536 bytes"),
    _whole("a folder", Path.mkdir, "the manifest {here}/pair/pair.toml is a folder"),
    _whole("a pipe", os.mkfifo, "the manifest {here}/pair/pair.toml is not a regular file"),
    _whole("a broken link", lambda path: path.symlink_to("nothing"), "cannot read the manifest {here}/pair/pair.toml: No such file"),
    _whole("deep", "schema = " + "[" * 10_000, "not valid TOML: it nests too deep"),
    _whole("not TOML", "schema =", "not valid TOML: Invalid value"),
    _instead("another schema", "schema = 1", "schema = 2", "has schema 2; this version reads 1"),
    _instead("a schema in words", "schema = 1", "schema = 'one'", "has schema 'one'; this version reads 1"),
    _instead("no schema", "schema = 1", "", "pair.toml lacks 'schema'"),
    _instead("no name", 'name = "home"', "", "pair.toml lacks 'name'"),
    _instead("a number as a name", 'name = "home"', "name = 7", "'name' must be text, not 7"),
    _instead("a list as a name", 'name = "home"', "name = ['home']", "'name' must be text, not ['home']"),
    _instead("an empty name", 'name = "home"', "name = ''", "'name' must be text that can be printed, not ''"),
    _instead("a name that leads out", 'name = "home"', "name = '../x'", "'name' must be 1 to 64 letters, digits, '.', '-' or '_', not '../x'"),
    _instead("a name that is hidden", 'name = "home"', "name = '..'", "'name' must be 1 to 64 letters"),
    _instead("a name with a slash", 'name = "home"', "name = 'a/b'", "'name' must be 1 to 64 letters"),
    _instead("a name with control characters", 'name = "home"', 'name = "a\\u001b[31m"', "'name' must be text that can be printed, not 'a\\x1b[31m'"),
    _instead("a name with NUL", 'name = "home"', 'name = "a\\u0000"', "'name' must be text that can be printed"),
    _instead("a name in markup", 'name = "home"', "name = '[bold]'", "'name' must be 1 to 64 letters, digits, '.', '-' or '_', not '[bold]'"),
    _instead("a name of 300 characters", 'name = "home"', f"name = '{'n' * 300}'", "'name' must be 1 to 64 letters"),
    _instead("a misspelt table", "[tokenizer]", "[tokeniser]", "has 'tokeniser', which nothing reads; did you mean 'tokenizer'?"),
    _instead("a misspelt optional table", "[defaults]", "[default]", "has 'default', which nothing reads; did you mean 'defaults'?"),
    _instead("an unknown table", "[defaults]", "[zzz]", "has 'zzz', which nothing reads; there are: schema, name"),
    _instead("a misspelt key", "chat_template =", "chat_templat =", "[tokenizer] has 'chat_templat', which nothing reads; did you mean 'chat_template'?"),
    _instead("a misspelt optional key", 'dtype = "float32"', 'dtpe = "float32"', "[target] has 'dtpe', which nothing reads; did you mean 'dtype'?"),
    _instead("a table as a list", "[target]", "[[target]]", "'target' must be a table, not [{"),
    _instead("no draft", '[draft]\nmodel = "draft.onnx"', "", "has no draft model; use --drafter ngram"),
    _instead("a value as a table", '[draft]\nmodel = "draft.onnx"', "[[draft]]\nmodel = 3", "'draft' must be a table, not [{'model': 3}]"),
    _instead("no target", 'checkpoint = "target"', "", "[target] lacks 'checkpoint'"),
    _instead("a number as a checkpoint", 'checkpoint = "target"', "checkpoint = 3", "[target]: 'checkpoint' must be text, not 3"),
    _instead("a checkpoint that leads out", 'checkpoint = "target"', "checkpoint = '../target'", "no MQTT broker answers"),  # a node has no use for it
    _instead("a number as a dtype", 'dtype = "float32"', "dtype = 32", "'dtype' must be text, not 32"),
    _instead("an absolute draft", '"draft.onnx"', "'/etc/passwd'", "[draft]: 'model' must name a file inside the pair's folder, not '/etc/passwd'"),
    _instead("a draft that leads out", '"draft.onnx"', "'../draft.onnx'", "[draft]: 'model' must name a file inside the pair's folder"),
    _instead("a draft that is a folder", '"draft.onnx"', "'target'", "the pair 'home' lacks {here}/pair/target"),
    _instead("a draft that is not there", '"draft.onnx"', "'other.onnx'", "the pair 'home' lacks {here}/pair/other.onnx"),
    _instead("a draft with NUL", '"draft.onnx"', '"a\\u0000b"', "'model' must be text that can be printed"),
    _instead("a draft with a long name", '"draft.onnx"', f"'{'d' * 300}'", "the pair 'home' lacks"),
    _instead("a draft that is a number", '"draft.onnx"', "3", "[draft]: 'model' must be text, not 3"),
    _instead("a draft that is no graph", '"draft.onnx"', "'tools.json'", "ONNX Runtime cannot load {here}/pair/tools.json"),
    _instead("words of the target's own tokenizer", '[draft]\nmodel = "draft.onnx"', '[draft]\nmodel = "draft.onnx"\nwords = {"a" = "b"}', "translates words for a draft that has the target's tokenizer"),
    _instead("a draft's tokenizer that is none", '[draft]\nmodel = "draft.onnx"', '[draft]\nmodel = "draft.onnx"\ntokenizer = "tools.json"', "{here}/pair/tools.json is not a tokenizer file"),
    _instead("a word that the draft lacks", '[draft]\nmodel = "draft.onnx"', '[draft]\nmodel = "draft.onnx"\ntokenizer = "tokenizer.json"\nwords = {"<|end|>" = "<|no|>"}', "the draft's tokenizer has no control word '<|no|>'"),
    _instead("an exit without its head", 'head = "exit.safetensors"', "", "[exit] lacks 'head'"),
    _instead("an exit that leads out", '"exit.safetensors"', "'a/../../exit.safetensors'", "[exit]: 'head' must name a file inside"),
    _instead("a template that leads out", '"chat_template.jinja"', "'/etc/passwd'", "[tokenizer]: 'chat_template' must name a file inside"),
    _instead("tools that lead out", '"tools.json"', "'../tools.json'", "[tools]: 'file' must name a file inside"),
    _instead("an end as text", 'end = ["<|end|>"]', 'end = "<|end|>"', "'end' must be a list; write end = ['<|end|>']"),
    _instead("an end that is empty", 'end = ["<|end|>"]', "end = []", "'end' must be a list of one text or more, not []"),
    _instead("an end of nothing", 'end = ["<|end|>"]', 'end = [""]', "'end' must be a list of one text or more, not ['']"),
    _instead("an end of numbers", 'end = ["<|end|>"]', "end = [1]", "'end' must be a list of one text or more, not [1]"),
    _instead("an end as a number", 'end = ["<|end|>"]', "end = 1", "'end' must be a list, not 1"),
    _instead("no end", 'end = ["<|end|>"]', "", "[tokenizer] lacks 'end'"),
    _instead("an end that the tokenizer lacks", "<|end|>", "<|no|>", "the tokenizer of 'home' has no token '<|no|>'"),
    _instead("a cold default", "temperature = 0.0", "temperature = -1", "[defaults]: temperature must be a number from 0 to 100"),
    _instead("a default in words", "temperature = 0.0", "temperature = 'hot'", "[defaults]: temperature must be a number"),
    _instead("a default without a number", "top_p = 1.0", "top_p = nan", "[defaults]: top_p must be a number above 0"),
    _instead("a large default", "top_k = 0", f"top_k = {'9' * 400}", "[defaults]: top_k must be a whole number"),
    _instead("a default of another kind", "top_k = 0", "top_k = 1.5", "[defaults]: top_k must be a whole number"),
    _instead("an unknown default", "top_k = 0", "warmth = 1", "[defaults] has 'warmth', which nothing reads; there are: temperature"),
    _instead("hashes that are short", "[defaults]", "[sha256]\na = '00'\n[defaults]", "[sha256]: 'a' must have 64 hexadecimal digits, not '00'"),
    _instead("hashes that are numbers", "[defaults]", "[sha256]\na = 3\n[defaults]", "[sha256]: 'a' must have 64 hexadecimal digits, not 3"),
    _instead("hashes of what lies outside", "[defaults]", "[sha256]\n'../a' = 'x'\n[defaults]", "[sha256] must name files inside the pair's folder, not '../a'"),
    _instead("hashes in tables", "[defaults]", "[sha256.a]\nb = 'x'\n[defaults]", "[sha256]: 'a' must have 64 hexadecimal digits, not {'b'"),
    _instead("hashes as text", "schema = 1", "schema = 1\nsha256 = 'x'", "'sha256' must be a table, not 'x'"),
)  # fmt: skip


@rows(*_MANIFESTS)
def test_a_manifest(case: Case, tmp_path: Path) -> None:
    (_pair(tmp_path) / "pair.toml").unlink()
    check(
        case, node, tmp_path, "ask", "--pair", str(tmp_path / "pair"), "--broker-host=127.0.0.1", "--broker-port=1", "x"
    )


def _file(name: str, file: str, content: Content, says: str) -> Case:
    """A pair with another file."""
    return Case(name, says, files={f"pair/{file}": content})


_OUT = "must name a file inside the pair's folder"
_FILES = (
    _file("an empty tokenizer", "tokenizer.json", "", "{here}/pair/tokenizer.json is not a tokenizer file"),
    _file("a binary tokenizer", "tokenizer.json", bytes(range(256)), "{here}/pair/tokenizer.json is not a tokenizer file"),
    _file("a deep tokenizer", "tokenizer.json", "[" * 100_000, "{here}/pair/tokenizer.json is not a tokenizer file"),
    _file("another JSON", "tokenizer.json", '{"model": 3}', "{here}/pair/tokenizer.json is not a tokenizer file"),
    _file("a tokenizer that is a folder", "tokenizer.json", Path.mkdir, "the pair 'home' lacks {here}/pair/tokenizer.json"),
    _file("a tokenizer that is a pipe", "tokenizer.json", os.mkfifo, "the pair 'home' lacks {here}/pair/tokenizer.json"),
    _file("a tokenizer that is a link out", "tokenizer.json", lambda path: path.symlink_to(HOME / "tokenizer.json"), _OUT),
    _file("a link to itself", "tokenizer.json", lambda path: path.symlink_to(path), "the pair 'home' lacks {here}/pair/tokenizer.json"),
)  # fmt: skip
_NODE_FILES = (
    _file("a binary template", "chat_template.jinja", b"\xff", "the chat template {here}/pair/chat_template.jinja is not UTF-8 text"),
    _file("a large template", "chat_template.jinja", b"x" * 2_000_000, "the chat template {here}/pair/chat_template.jinja is larger than"),
    _file("a broken template", "chat_template.jinja", "{% for", "is not a valid chat template"),
    _file("a link out", "chat_template.jinja", lambda path: path.symlink_to("/etc/passwd"), _OUT),
    _file("a binary draft", "draft.onnx", bytes(range(256)), "ONNX Runtime cannot load {here}/pair/draft.onnx"),
    _file("an empty draft", "draft.onnx", b"", "ONNX Runtime cannot load {here}/pair/draft.onnx"),
    _file("binary tools", "tools.json", b"\xff", "the tools file {here}/pair/tools.json is not UTF-8 text"),
    _file("large tools", "tools.json", _large, "the tools file {here}/pair/tools.json is larger than 1048576 bytes"),
    _file("deep tools", "tools.json", "[" * 100_000, "{here}/pair/tools.json is not JSON"),
    _file("tools of 5000 digits", "tools.json", "9" * 5000, "{here}/pair/tools.json is not JSON"),
    _file("tools that are no list", "tools.json", "{}", "{here}/pair/tools.json is not a list of"),
    _file("tools with a name in markup", "tools.json", '[{"name": "[/]"}]', "{here}/pair/tools.json is not a list of"),
)  # fmt: skip


@rows(*_FILES, *_NODE_FILES)
def test_a_file_of_a_pair_on_a_node(case: Case, tmp_path: Path) -> None:
    _replace(case, _pair(tmp_path))
    pair = ("--pair", str(tmp_path / "pair"))
    check(case, node, tmp_path, "ask", "--json", *pair, "--broker-host=127.0.0.1", "--broker-port=1", "x")


_HUB_MANIFESTS = (
    _instead("a target that is not there", 'checkpoint = "target"', "checkpoint = '../target'", "the pair 'home' lacks its target, the folder {here}/pair/../target"),
    _instead("a target that is a file", 'checkpoint = "target"', "checkpoint = '/etc/passwd'", "the pair 'home' lacks its target, the folder /etc/passwd"),
)  # fmt: skip


@rows(*_FILES, *_HUB_MANIFESTS, _MANIFESTS[0], *(case for case in _MANIFESTS if case.name.startswith("an end")))
def test_a_pair_on_a_hub(case: Case, serving: tuple[str, ...], tmp_path: Path) -> None:
    _replace(case, _pair(tmp_path))
    check(case, hub, tmp_path, *serving, "--pair", str(tmp_path / "pair"))


def _replace(case: Case, folder: Path) -> None:
    for name in case.files:
        (folder.parent / name).unlink()


def _named(name: str, typed: str, says: str) -> Case:
    return Case(name, says, ("--pair", typed))


_NAMES = (
    _named("nothing", "", "'' is not a pair: it is no built-in one (home)"),
    _named("unknown", "hoem", "'hoem' is not a pair"),
    _named("above", "..", "'..' is not a pair"),
    _named("absolute", "/etc/passwd", "'/etc/passwd' is not a pair"),
    _named("built-in by a detour", "home/../home", "'home/../home' is not a pair"),
    _named("long", "p" * 300, "is not a pair: it is no built-in one (home)"),
    _named("very long", "p" * 100_000, "is not a pair: it is no built-in one (home)"),
    _named("in markup", "[bold]x[/]", "'[bold]x[/]' is not a pair"),
    _named("not UTF-8", "\udcff", "'\\udcff' is not a pair"),
    _named("in colours", "\x1b[31m", "'\\x1b[31m' is not a pair"),
    _named("of nobody", "~nobody-has-this/pair", "'~nobody-has-this/pair' is not a pair"),
    _named("two lines", "a\nb", "'a\\nb' is not a pair"),
)


@rows(*_NAMES)
def test_a_pair_by_its_name(case: Case, tmp_path: Path) -> None:
    check(case, node, tmp_path, "ask", "--broker-port=1", "x")
