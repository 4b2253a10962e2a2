"""The control words of a tokenizer, such as `<|end|>`: found where a template wrote them, and nowhere else.

A control word is an added token, special or not, that is more than white space. The tokenizer takes it out of any text
before its model sees that text, whoever wrote it. Here two tokenizers made of the same parts share that work: the
*finder* has the added tokens and no model, and says where they stand; the *encoder* has the model, and for each added
token an alias that nobody can type. A text is encoded with aliases in place of the words that count, so all others are
spelled out, and the pieces that normalizer, pre-tokenizer and model get are those that they always got.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken, Tokenizer, models

_SPACE = " \t\r\n\u2581"  # the last is sentencepiece's space
# 64 random bits, so that no text has them; from the private planes, which normalizers leave alone.
_SECRET = "".join(chr(0xF0000 + secrets.randbelow(0xFFFE)) for _ in range(4))
_ANSWER = _SECRET + chr(0x10FFFD)


@dataclass(frozen=True)
class Found:
    """A control word at [start, end) of a text, without the white space that goes with it."""

    start: int
    end: int
    word: str


class ControlWords:
    """The control words of one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Take the tokenizer apart. Raises Exception, as the tokenizers package does, when that can't be done."""
        added = [token for _, token in sorted(tokenizer.get_added_tokens_decoder().items())]
        self._aliases = {token.content: _SECRET + chr(0x100000 + i) for i, token in enumerate(added)}
        self._ids = {alias: tokenizer.token_to_id(word) for word, alias in self._aliases.items()}
        self.ids = {word: self._ids[alias] for word, alias in self._aliases.items() if word.strip(_SPACE)}
        self._longest = max(map(len, self.ids), default=0)
        self._beginnings = {word[:n] for word in self.ids for n in range(1, len(word))}
        self._endings = {word[n:] for word in self.ids for n in range(1, len(word))}

        self._finder = Tokenizer(models.WordLevel({_SECRET: 0}, unk_token=_SECRET))
        self._encoder = Tokenizer(_model(tokenizer, self._aliases, self.ids.keys()))
        if tokenizer.normalizer is not None:
            self._finder.normalizer = self._encoder.normalizer = tokenizer.normalizer
        if tokenizer.pre_tokenizer is not None:
            self._encoder.pre_tokenizer = tokenizer.pre_tokenizer
        self._finder.add_tokens(added)
        answer = AddedToken(_ANSWER, normalized=True)
        self._encoder.add_tokens([*(_renamed(token, self._aliases[token.content]) for token in added), answer])
        self._words = {self._finder.token_to_id(token.content): token for token in added}
        # Some normalizers write a space in front of what they get, and so in front of the answer's pattern too.
        self._in_front = self._normalized(_ANSWER).partition(_ANSWER)[0]

    def find(self, text: str) -> list[Found]:
        """The control words that the tokenizer would take out of `text`, in their order."""
        return [found for found in self._added(text) if found.word in self.ids]

    def touches(self, text: str) -> list[int]:
        """Positions of characters by which `text` could be part of a control word that it does not hold as a whole."""
        core = text.strip()
        if not core:
            return []
        reach = range(1, min(self._longest, len(core) + 1))
        at = {len(core) - n for n in reach if core[-n:] in self._beginnings}
        inside = len(core) < self._longest and any(core in word for word in self.ids)
        if inside or any(core[:n] in self._endings for n in reach):
            at.add(0)
        first = len(text) - len(text.lstrip())
        return [first + i for i in sorted(at)]

    def encode(self, text: str, hidden: Mapping[int, str], answers: Mapping[str, Sequence[int]]) -> list[int]:
        """The ids of `text`: those of the control words that are found in it, and the rest as text.

        Characters that `hidden` has, as `str.translate` takes it, are put back after the search. A character that
        `answers` has stands for those ids. Raises ValueError when the normalizer does away with control words.
        """
        pieces: list[str] = []
        placed = self._placed(text, answers)
        done = 0
        begins = True  # whether a normalizer begins anew here
        for found in placed:
            before = text[done : found.start].translate(hidden)
            is_answer = found.word in answers
            joint = self._in_front if is_answer and not (begins and not before) else ""
            alias = _ANSWER if is_answer else self._aliases[found.word]
            pieces += [before, joint, alias]
            begins = not is_answer and not self._normalized_word(found.word)
            done = found.end
        pieces.append(text[done:].translate(hidden))
        encoding = self._encoder.encode("".join(pieces), add_special_tokens=False)

        words = iter(placed)
        ids: list[int] = []
        for token_id, token in zip(encoding.ids, encoding.tokens, strict=True):
            if _SECRET not in token:
                ids.append(token_id)
                continue
            word = next(words).word
            ids += answers[word] if word in answers else [self._ids[self._aliases[word]]]
        if next(words, None) is not None:
            raise ValueError("its normalizer does away with control words")
        return ids

    def _placed(self, text: str, answers: Mapping[str, Sequence[int]]) -> list[Found]:
        """All added tokens and answers of `text` in their order."""
        marks = (Found(i, i + 1, character) for i, character in enumerate(text) if character in answers)
        return sorted([*self._added(text), *(marks if answers else ())], key=lambda found: found.start)

    def _added(self, text: str) -> Iterator[Found]:
        encoding = self._finder.encode(text, add_special_tokens=False)
        for token_id, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if token_id in self._words:
                word, whole = self._words[token_id].content, text[start:end]
                if len(whole) == len(word) or not word.strip(_SPACE):
                    yield Found(start, end, word)
                else:  # it takes white space along
                    yield Found(end - len(whole.lstrip(_SPACE)), start + len(whole.rstrip(_SPACE)), word)

    def _normalized_word(self, word: str) -> bool:
        return bool(self._words[self._finder.token_to_id(word)].normalized)

    def _normalized(self, text: str) -> str:
        normalizer = self._encoder.normalizer
        return text if normalizer is None else normalizer.normalize_str(text)


def _renamed(token: AddedToken, alias: str) -> AddedToken:
    """The same token under its alias; whether it stands alone was decided when it was found."""
    return AddedToken(
        alias, lstrip=token.lstrip, rstrip=token.rstrip, normalized=token.normalized, special=token.special
    )


def _model(tokenizer: Tokenizer, aliases: Mapping[str, str], words: AbstractSet[str]) -> Any:
    """The tokenizer's model; one in which control words have their aliases where the model itself can write them."""
    bare = Tokenizer(tokenizer.model)
    in_vocabulary = [word for word in words if bare.token_to_id(word) is not None]
    if not any(word in (piece.value for piece in bare.model.tokenize(word)) for word in in_vocabulary):
        return tokenizer.model
    model = json.loads(tokenizer.to_str())["model"]
    vocab = model["vocab"]
    if isinstance(vocab, dict):
        model["vocab"] = {(aliases[piece] if piece in words else piece): i for piece, i in vocab.items()}
    else:
        model["vocab"] = [[aliases[piece] if piece in words else piece, score] for piece, score in vocab]
    if model.get("unk_token") in words:
        model["unk_token"] = aliases[model["unk_token"]]
    if "merges" in model:
        model["merges"] = [pair for pair in model["merges"] if not words & {*pair, "".join(pair)}]
    parts = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
    return Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], **parts, "model": model})).model
