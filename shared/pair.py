"""A pair: a folder whose `pair.toml` names a target, its draft, their tokenizer and chat template, with hashes.

All files but the target's lie in the folder, and links in it do not lead out of it. What stands in no line here is refused.

schema = 1
name = "home"

[target]
checkpoint = "target"            # a folder in transformers' form, or hf://owner/name: a model of the Hugging Face hub
dtype = "float32"                # the weight format: part of what the text depends on

[draft]                          # optional: the draft that any device may take
model = "draft.onnx"
tokenizer = "draft-tokenizer.json"   # optional: its own, where its ids are not the target's
words = {"<end_of_turn>" = "<|im_end|>"}   # optional, then: its control words for those of the target that it has not
acceptance = 0.93                # optional: share of the target's greedy ids that it drafts, measured when it was made
step_bytes = 80_000_000          # optional: bytes of weights that a device reads for each token that it drafts

[drafts.pi4]                     # optional: drafts made for other devices, with the same keys
model = "pi4.onnx"

[exit]                           # optional: a head by which the target tells early what it will say
head = "exit.safetensors"

[tokenizer]
file = "tokenizer.json"
chat_template = "chat_template.jinja"
end = ["<|end|>"]                # tokens that end a turn
plain = true                     # optional: what people type reaches the model in plain characters (shared/typed_text.py)

[tools]                          # optional: the calls that answers make, as schemas
file = "tools.json"

[confidence]                     # optional: how sure answers with calls are (shared/confidence.py), measured by tools.home.calibrate
offset = 0.1
slope = 0.9
ask_below = 0.7                  # what is less sure is asked back about, and not done
asks = {turned = "turn"}         # optional: how a question says the first word of what is said
denials = ["don't", "never"]     # optional: words of a request under which calls are asked back about however sure they are,
not_denials = ["never mind"]     # optional: but for those in such phrases

[listed]                         # optional, with [confidence]: what calls may name under a list of the home (shared/home_list.py)
titles = {areas = "area", devices = "name"}   # words before the colons of the list, and the argument that has the names behind each
says = "There is no {} here."    # what is said in place of calls for what is not there
calls = ["HassTurnOn"]           # optional, as all further keys: those whose "name" is a device's

[defaults]                       # generation defaults
temperature = 0.0
top_k = 0
top_p = 1.0

[sha256]                         # optional: of files, by their path in the folder; whoever loads one checks it
"draft.onnx" = "…"
"target/config.json" = "…"       # once a file of the target is here, its configuration and all its weights must be
"target/model.safetensors" = "…"
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared.cache import data_folder
from shared.confidence import Confidence
from shared.errors import PairError
from shared.file_hash import sha256_of
from shared.home_list import HomeList
from shared.manifest import Table, is_name
from shared.sampling_parameters import Sampling
from shared.settings import shown
from shared.text_file import read_toml

MANIFEST = "pair.toml"
REMOTE = "hf://"  # before owner/name: a target that is a model of the Hugging Face hub
DEFAULT = "default"  # the name of the draft in [draft]
TOKENIZER_CONFIG = "tokenizer_config.json"  # as models have it, beside the tokenizer; of a pair's files it is the only one that may be missing
CURRENT = "current"  # of the versions of a fetched pair the one to use: a link beside them
_BUILT_IN = Path(__file__).parent / "pairs"
_TABLES = (
    "schema", "name", "target", "draft", "drafts", "exit", "tokenizer", "tools", "confidence", "listed", "defaults", "sha256",
)  # fmt: skip
_OF_DRAFT = ("model", "tokenizer", "words", "acceptance", "step_bytes")  # keys of a draft's table
_OF_LIST = (
    "calls",
    "questions",
    "states",
    "not_domains",
    "everywhere",
    "kinds",
    "beside",
)  # keys of [listed] that may be missing
_MOST_FOLDERS = 200  # that are listed
_WEIGHTS = (".safetensors", ".safetensors.index.json")  # ends of the names of a target's files of weights


@dataclass(frozen=True)
class Draft:
    """A draft model of a pair and what was measured of it when it was made; paths are absolute."""

    name: str
    model: Path
    tokenizer: Path | None = None  # None: the pair's
    words: Mapping[str, str] = field(default_factory=dict)  # its control words by those of the target that it has not
    acceptance: float | None = None  # share of the target's greedy ids that it drafts, from 0 to 1
    step_bytes: int | None = None  # bytes of weights that a device reads for each token that it drafts

    @property
    def files(self) -> tuple[Path, ...]:
        """What a device must have of it."""
        return (self.model,) if self.tokenizer is None else (self.model, self.tokenizer)


@dataclass(frozen=True)
class Pair:
    """What a pair's manifest says; paths are absolute."""

    name: str
    folder: Path
    target: str  # a folder, which a node need not have, or REMOTE and a model's name
    target_dtype: str
    drafts: dict[str, Draft]  # by name; DEFAULT is the one of [draft]
    exit_head: Path | None
    tokenizer: Path
    chat_template: Path
    tools: Path | None
    end_tokens: tuple[str, ...]
    defaults: Sampling
    sha256: dict[str, str]
    plain: bool = False  # whether the model is given what people type in plain characters
    confidence: Confidence | None = None
    listed: HomeList | None = None

    @property
    def draft(self) -> Draft | None:
        """The draft that any device may take."""
        return self.drafts.get(DEFAULT)

    def device_files(self, draft: Draft) -> tuple[Path, ...]:
        """What a device must have of the pair besides its manifest to draft by `draft`: neither the target nor an exit."""
        config = self.tokenizer.with_name(TOKENIZER_CONFIG)
        tools = () if self.tools is None else (self.tools,)
        beside = (config,) if config.is_file() else ()
        return tuple(dict.fromkeys((self.tokenizer, *beside, self.chat_template, *tools, *draft.files)))

    @property
    def has_own_target(self) -> bool:
        """Whether the target is a folder, and no model of the Hugging Face hub."""
        return not self.target.startswith(REMOTE)

    def tokenizer_hash(self) -> bytes:
        """16 bytes that are the same on node and hub exactly when the tokenizer files are. Raises PairError if it is not the recorded one."""
        return bytes.fromhex(self._checked(self.tokenizer))[:16]

    def verify(self, path: Path) -> Path:
        """`path`, if its contents are what the manifest recorded. Raises PairError."""
        if self._recorded(path) is not None:
            self._checked(path)
        return path

    def version_of(self, draft: Draft) -> str:
        """The draft's name and the first 16 hexadecimal digits of its graph's SHA-256: as recorded, else of the file. Raises PairError."""
        return f"{draft.name}:{(self._recorded(draft.model) or _hash(draft.model))[:16].lower()}"

    def verify_target(self) -> str:
        """`target`, if its folder is there and is what the manifest recorded of it. Raises PairError.

        A manifest that records any of the folder's files must record all that the text depends on: its configuration and
        every file of weights. One that records another checkpoint of the pair's folder instead has the two mixed up.
        """
        if self.target.startswith(REMOTE):
            return self.target
        folder = Path(self.target)
        if not folder.is_dir():
            raise PairError(
                f"the pair {self.name!r} lacks its target, the folder {folder}; put the checkpoint there, or write "
                f"{REMOTE}owner/name into {MANIFEST} for a model of the Hugging Face hub"
            )
        inside = os.path.normpath(folder)
        recorded = [path for path in map(self._place, self.sha256) if Path(path).is_relative_to(inside)]
        for path in recorded:
            self.verify(Path(path))
        counting = [path for path in sorted(folder.iterdir()) if _counts(path)]
        others = [file for file in self.sha256 if _counts(Path(file)) and self._place(file) != str(self.exit_head)]
        if others and not recorded and Path(inside).is_relative_to(self.folder):
            raise PairError(
                f"{MANIFEST} records the hash of {others[0]}, and of no file of the target {folder}; name the checkpoint that is meant"
            )
        unrecorded = [path.name for path in counting if self._recorded(path) is None]
        if recorded and unrecorded:
            raise PairError(
                f"{MANIFEST} records the hashes of a part of {folder} only; record that of {unrecorded[0]} too, or of none"
            )
        return self.target

    def _checked(self, path: Path) -> str:
        """The SHA-256 of a file, 64 hexadecimal digits. Raises PairError if another is recorded."""
        digest, recorded = _hash(path), self._recorded(path)
        if recorded is not None and digest != recorded.lower():
            raise PairError(f"{path} is not the file that {MANIFEST} recorded; install the pair {self.name!r} again")
        return digest

    def _recorded(self, path: Path) -> str | None:
        """The recorded hash of a file, however the manifest spells its path."""
        place = os.path.normpath(path)
        return next((digest for file, digest in self.sha256.items() if self._place(file) == place), None)

    def _place(self, file: str) -> str:
        return os.path.normpath(self.folder / file)


def built_in_pairs() -> list[str]:
    """Names of the pairs inside this package."""
    return sorted(path.parent.name for path in _BUILT_IN.glob(f"*/{MANIFEST}"))


def check_pair_name(name: str) -> None:
    """Raise PairError unless a pair may have that name."""
    Table({"name": name}, "--name", ("name",)).name("name")


def pulled_folder() -> Path:
    """Where pairs are kept that were fetched from a hub, by name."""
    return data_folder() / "pairs"


def pulled_pairs() -> list[str]:
    """Names of the pairs that were fetched."""
    return sorted(path.parent.parent.name for path in pulled_folder().glob(f"*/{CURRENT}/{MANIFEST}"))


def folders_of_pairs(folder: Path) -> list[str]:
    """The folders in `folder` that have a manifest, as --pair takes them, some hundreds at most; hidden ones are of pairs in the making."""
    try:
        found = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}") if not path.parent.name.startswith("."))
    except OSError:
        return []
    return [str(path) if path.is_absolute() else f"./{path}" for path in found[:_MOST_FOLDERS]]


def load_pair(name_or_folder: str) -> Pair:
    """The built-in pair of that name, or the pair in that folder, or the one that was fetched by that name. Raises PairError."""
    folder = pair_folder(name_or_folder)
    if folder is None:
        raise PairError(
            f"{shown(name_or_folder)} is not a pair: it is no built-in one ({', '.join(built_in_pairs())}), "
            f"there is no {MANIFEST} in a folder of that name, and none was fetched by it (sled-node pull)"
        )
    return _parse(folder)


def pair_folder(name_or_folder: str) -> Path | None:
    """The folder that `load_pair` reads, links followed; None where there is none."""
    folder = Path(name_or_folder)
    if "/" not in name_or_folder and name_or_folder in built_in_pairs():
        folder = _BUILT_IN / name_or_folder
    pulled = [pulled_folder() / name_or_folder / CURRENT] if is_name(name_or_folder) else []
    try:
        found = (each for each in (folder.expanduser(), *pulled) if os.path.lexists(each / MANIFEST))
        first = next(found, None)
        return None if first is None else first.resolve()
    except (RuntimeError, ValueError):  # the home of a user that there is not; a NUL in the name
        return None


def _parse(folder: Path) -> Pair:
    path = folder / MANIFEST
    manifest = Table(read_toml(path, "the manifest", PairError), str(path), _TABLES)
    if manifest.value("schema", object) != 1:
        raise PairError(f"{path} has schema {shown(manifest.value('schema', object))}; this version reads 1")
    target = manifest.table("target", "checkpoint", "dtype")
    head = manifest.table("exit", "head")
    tokenizer = manifest.table("tokenizer", "file", "chat_template", "end", "plain")
    tools = manifest.table("tools", "file")
    pair = Pair(
        name=manifest.name("name"),
        folder=folder,
        target=_checkpoint(target, folder),
        target_dtype=target.text("dtype") if target.has("dtype") else "float32",
        drafts=_drafts(manifest, folder),
        exit_head=head.file("head", folder) if manifest.has("exit") else None,
        tokenizer=tokenizer.file("file", folder),
        chat_template=tokenizer.file("chat_template", folder),
        tools=tools.file("file", folder) if manifest.has("tools") else None,
        end_tokens=tokenizer.texts("end"),
        defaults=manifest.table("defaults", "temperature", "top_k", "top_p").sampling(),
        sha256=manifest.table("sha256").hashes(),
        plain=tokenizer.has("plain") and tokenizer.value("plain", bool),
        confidence=_confidence(manifest) if manifest.has("confidence") else None,
        listed=_listed(manifest) if manifest.has("listed") else None,
    )
    of_drafts = [file for draft in pair.drafts.values() for file in draft.files]
    for file in (pair.tokenizer, pair.chat_template, *of_drafts, pair.exit_head, pair.tools):
        if file is not None and not os.path.isfile(file):  # noqa: PTH113 - a long name is no error to it
            raise PairError(f"the pair {pair.name!r} lacks {file}")
    return pair


def _drafts(manifest: Table, folder: Path) -> dict[str, Draft]:
    default = manifest.table("draft", *_OF_DRAFT)
    found = {DEFAULT: _draft(DEFAULT, default, folder)} if default.names() else {}
    others = manifest.table("drafts")
    for name in others.names():
        if name == DEFAULT:
            raise PairError(f"{others.where}: {DEFAULT!r} is the name of the draft in [draft]; choose another")
        found[name] = _draft(name, others.table(name, *_OF_DRAFT), folder)
    return found


def _draft(name: str, table: Table, folder: Path) -> Draft:
    if table.has("words") and not table.has("tokenizer"):
        raise PairError(
            f"{table.where} translates words for a draft that has the target's tokenizer; name its own or leave them out"
        )
    return Draft(
        name=name,
        model=table.file("model", folder),
        tokenizer=table.file("tokenizer", folder) if table.has("tokenizer") else None,
        words=table.table("words").words(),
        acceptance=table.number("acceptance", 0, 1) if table.has("acceptance") else None,
        step_bytes=int(table.number("step_bytes", 1, 2**50)) if table.has("step_bytes") else None,
    )


def _confidence(manifest: Table) -> Confidence:
    table = manifest.table("confidence", "offset", "slope", "ask_below", "asks", "denials", "not_denials")
    return Confidence(
        offset=table.number("offset", -50, 50),
        slope=table.number("slope", 0, 50),
        ask_below=table.number("ask_below", 0, 1),
        asks=table.table("asks").words(),
        denials=table.texts("denials") if table.has("denials") else (),
        not_denials=table.texts("not_denials") if table.has("not_denials") else (),
    )


def _listed(manifest: Table) -> HomeList:
    table = manifest.table("listed", "titles", "says", "device", *_OF_LIST)
    if not manifest.has("confidence"):
        raise PairError(f"{table.where} is read with [confidence] alone; calibrate the pair, or leave it out")
    titles = table.table("titles").words()
    device = table.text("device") if table.has("device") else "name"
    if device not in titles.values():
        raise PairError(f"{table.where}: titles must say where the devices are, the argument {shown(device)}")
    lists = {key: table.texts(key) if table.has(key) else () for key in _OF_LIST}
    return HomeList(titles=titles, says=table.text("says"), device=device, **lists)


def _checkpoint(target: Table, folder: Path) -> str:
    """The target's folder, which alone may lie outside the pair's, or REMOTE and a model's name."""
    checkpoint = target.text("checkpoint")
    return checkpoint if checkpoint.startswith(REMOTE) else str(folder / checkpoint)


def _counts(path: Path) -> bool:
    """Whether it is a file of a checkpoint that the text depends on, by its name."""
    return path.name == "config.json" or path.name.endswith(_WEIGHTS)


def _hash(path: Path) -> str:
    """64 hexadecimal digits."""
    try:
        return sha256_of(path).hex()
    except OSError as error:
        raise PairError(f"cannot read {path}: {error.strerror}") from None
