"""A tokenizer as bytes: what each id stands for, and the ids of any bytes, also of halves of characters.

Tokenizers come in two kinds whose tokens have bytes: byte-level ones write each byte as a letter (GPT-2 and after), SentencePiece writes a
space as ▁ and characters that it lacks as bytes (<0xE2>). What a tokenizer puts in front of a text, and what it does to characters
(NFC, lower case), is left out here: text is taken as it is, so that nothing is lost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers

from shared.errors import PairError
from shared.sampling_parameters import MAX_VOCAB
from shared.vocabulary import ids_below

_SPACE = "\u2581"  # SentencePiece's
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_NO_TEXT = re.compile("[\udc80-\udcff]+")  # bytes of no character, as `surrogateescape` decodes them
_NO_PIECE = re.compile(f"[\udc80-\udcff{_SPACE}]+")  # for SentencePiece, which takes its space for another
_WORD_BOUNDARY = re.compile(rb"[A-Za-z] [A-Za-z]")


class ByteVocabulary:
    """The tokens of one tokenizer by their bytes."""

    def __init__(self, tokenizer: Tokenizer, name: str) -> None:
        """Raises PairError, which calls the tokenizer `name`, for one whose tokens have no bytes, such as WordPiece."""
        parts = _parts(tokenizer)
        written = json.dumps([parts["decoder"], parts["pre_tokenizer"]], ensure_ascii=False)
        self._byte_level = '"ByteLevel"' in written
        if not self._byte_level and _SPACE not in written:
            raise PairError(
                f"{name} is neither a byte-level tokenizer nor one of SentencePiece, so that its tokens have no bytes; take a draft with the target's tokenizer"
            )
        self.size = ids_below(tokenizer)
        if self.size > MAX_VOCAB:
            raise PairError(f"{name} has ids up to {self.size - 1}; {MAX_VOCAB - 1} is the most")
        added = tokenizer.get_added_tokens_decoder()
        self.words = {token.content: i for i, token in added.items() if token.special}
        self._bytes = [b""] * self.size
        pieces = tokenizer.get_vocab(with_added_tokens=False)
        for piece, i in pieces.items():
            self._bytes[i] = self._of_piece(piece)
        for i, token in added.items():
            self._bytes[i] = b"" if token.special else self._of_added(token.content)
        self._ids = self._by_bytes(pieces, set(added))
        self._longest = max(map(len, self._ids), default=0)
        self.splits_at_words = not any(map(_WORD_BOUNDARY.search, self._bytes))
        plain = {token.content: i for i, token in added.items() if not token.special}
        self._plain = plain  # its encoder may number them otherwise
        self._encoder = _encoder(tokenizer, parts, byte_level=self._byte_level)

    def bytes_of(self, token: int) -> bytes:
        """What an id stands for; nothing for control words and for ids that there are not."""
        return self._bytes[token] if 0 <= token < self.size else b""

    def id_of(self, data: bytes) -> int | None:
        """The token of just these bytes, if there is one."""
        return self._ids.get(data)

    def encode(self, data: bytes) -> list[int]:
        """The ids that stand for `data`, as the tokenizer writes text; bytes for which it has no token are left out."""
        text = data.decode("utf-8", "surrogateescape")
        ids: list[int] = []
        done = 0
        for odd in (_NO_TEXT if self._byte_level else _NO_PIECE).finditer(text):
            ids += self._encoded(text[done : odd.start()])
            ids += self._spelled(odd[0].encode("utf-8", "surrogateescape"))
            done = odd.end()
        return ids + self._encoded(text[done:])

    def _encoded(self, text: str) -> list[int]:
        if not text:
            return []
        encoding = self._encoder.encode(text, add_special_tokens=False)
        ids = [self._plain.get(piece, i) for i, piece in zip(encoding.ids, encoding.tokens, strict=True)]
        data = text.encode()
        return ids if b"".join(map(self.bytes_of, ids)) == data else list(self._spelled(data))

    def _spelled(self, data: bytes) -> Iterator[int]:
        """The longest token that fits, again and again."""
        start = 0
        while start < len(data):
            ends = range(min(len(data), start + self._longest), start, -1)
            end = next((end for end in ends if data[start:end] in self._ids), None)
            if end is not None:
                yield self._ids[data[start:end]]
            start = end or start + 1

    def _of_piece(self, piece: str) -> bytes:
        if self._byte_level:
            return bytes(_LETTERS[letter] for letter in piece) if _LETTERS.keys() >= set(piece) else piece.encode()
        byte = _BYTE.fullmatch(piece)
        return bytes([int(byte[1], 16)]) if byte else self._of_added(piece)

    def _of_added(self, content: str) -> bytes:
        return (content if self._byte_level else content.replace(_SPACE, " ")).encode()

    def _by_bytes(self, pieces: dict[str, int], added: set[int]) -> dict[bytes, int]:
        """The token of each byte string: a piece of the model rather than an added token, and that rather than a byte."""
        spelled = {i for piece, i in pieces.items() if not self._byte_level and _BYTE.fullmatch(piece)}
        own = sorted(set(pieces.values()) - added - spelled)
        found: dict[bytes, int] = {}
        for i in chain(own, sorted(added - spelled), sorted(spelled)):
            if self._bytes[i]:
                found.setdefault(self._bytes[i], i)
        return found


def _parts(tokenizer: Tokenizer) -> dict[str, Any]:
    """The tokenizer's description without its model, which may be large."""
    shell = Tokenizer(models.BPE())
    if tokenizer.normalizer is not None:
        shell.normalizer = tokenizer.normalizer
    if tokenizer.pre_tokenizer is not None:
        shell.pre_tokenizer = tokenizer.pre_tokenizer
    if tokenizer.decoder is not None:
        shell.decoder = tokenizer.decoder
    parts: dict[str, Any] = json.loads(shell.to_str())
    return parts


def _encoder(tokenizer: Tokenizer, parts: dict[str, Any], *, byte_level: bool) -> Tokenizer:
    """The tokenizer without control words and without what changes text or puts something in front of it."""
    changed = {
        **parts,
        "normalizer": None if byte_level else {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE},
        "pre_tokenizer": _without_prefix(parts["pre_tokenizer"]),
    }
    encoder: Tokenizer = Tokenizer.from_str(json.dumps(changed))
    encoder.model = tokenizer.model
    plain = [token for _, token in sorted(tokenizer.get_added_tokens_decoder().items()) if not token.special]
    encoder.add_tokens(plain)
    return encoder


def _without_prefix(part: Any) -> Any:
    """A description of a pre-tokenizer, with none in it that puts a space in front."""
    if isinstance(part, list):
        return [_without_prefix(each) for each in part]
    if not isinstance(part, dict):
        return part
    plain = {key: _without_prefix(value) for key, value in part.items()}
    if plain.get("type") == "ByteLevel":
        plain["add_prefix_space"] = False
    if plain.get("type") == "Metaspace":
        plain["prepend_scheme"] = "never"
    return plain


def _letters() -> dict[str, int]:
    """The byte of each letter of byte-level tokenizers: printable ones are themselves, the others follow from 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


_LETTERS = _letters()
assert set(_LETTERS) == set(pre_tokenizers.ByteLevel.alphabet())
