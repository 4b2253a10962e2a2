"""Words for the slots: the lists of words.toml, and words that nobody has listed, so that copying is learnt and not a list."""

from __future__ import annotations

import itertools
import random
import string
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import tomllib

from tools.home.data.grammar import expand

Split = Literal["train", "held_out"]


@dataclass(frozen=True)
class Source:
    """Where requests come from: words and phrasings of a split, and shares of what makes them hard.

    By default those of training, which has more of it than what is measured, so that the model can't get by on guesses.
    `pieces` are tokens that invented words may be joined from.
    """

    split: Split
    phrasing: Split = "train"
    invented: float = 0.4  # words that no list has
    misspelt: float = 0.09  # requests with a slip of the fingers, or of who listens
    strewn: float = 0.25  # requests for what the list of the home has, with words between that say nothing
    titled: float = 0.1  # names as in a form: "Kitchen Lamp"
    homes: float = 0.5  # dialogues whose system message lists the home
    odd_homes: float = 0.4  # homes in which only the list tells an area from a device
    pieces: tuple[str, ...] = ()


# What benchmarks ask with: words never seen in training, most of them words that a home has, and phrasings never seen either.
HELD_OUT = Source("held_out", invented=0.15, misspelt=0.03, strewn=0.0, titled=0.05, homes=0.22, odd_homes=0.0)
NEW_PHRASING = replace(HELD_OUT, phrasing="held_out")


@cache
def _lists() -> dict[str, dict[str, list[str]]]:
    lists: dict[str, dict[str, list[str]]] = tomllib.loads(Path(__file__).with_name("words.toml").read_text())
    return lists


def words(split: Split) -> dict[str, list[str]]:
    """The word lists of one split, by name."""
    return _lists()[split]


def _english(split: Split) -> list[list[str]]:
    """The lists of words that names may be made of."""
    return [texts for kind, texts in words(split).items() if kind != "foreign"]


KINDS_OF_DEVICES = tuple(_lists()["heads"])


def heads(kind: str) -> list[str]:
    """The nouns that tell a kind of device."""
    return _lists()["heads"][kind]


def head(kind: str, rng: random.Random) -> str:
    """A noun that tells what kind of device a name is."""
    return rng.choice(heads(kind))


def listed_word(kind: str, rng: random.Random, source: Source) -> str:
    """An entry of the list `kind`."""
    return expand(rng.choice(words(source.split)[kind]), rng, str)


def any_word(rng: random.Random, source: Source) -> str:
    """A single word from any of the lists."""
    return rng.choice(_single_words(source.split))


@cache
def _single_words(split: Split) -> tuple[str, ...]:
    plain = (text for texts in _english(split) for text in texts if "(" not in text)
    return tuple(sorted({word for text in plain for word in text.split()}))


def invented_word(rng: random.Random, source: Source) -> str:
    """A word that no list has; its checksum tells the splits apart, so that neither draws the other's.

    Syllables, letters that follow each other as in the lists, any letters, and the source's pieces. Training gives the
    tokenizer's pieces: a token that was never copied in training can't be copied later.
    """
    makers: tuple[Callable[[random.Random, tuple[str, ...]], str], ...] = (
        _syllables,
        _syllables,
        _letter_chain,
        _letter_chain,
        _any_letters,
        *((_joined,) * 4 if source.pieces else ()),
    )
    make = rng.choice(makers)
    while True:
        word = make(rng, source.pieces)
        if word in _listed():
            continue
        if (zlib.crc32(word.encode()) % 8 == 0) == (source.split == "held_out"):
            return word


@cache
def _listed() -> frozenset[str]:
    """Every single word of the lists of both splits."""
    lists = (words("train"), words("held_out"))
    return frozenset(w for each in lists for texts in each.values() for text in texts for w in text.split())


def _syllables(rng: random.Random, _: tuple[str, ...]) -> str:
    parts = _lists()["syllables"]
    return "".join(
        rng.choice(parts["onsets"]) + rng.choice(parts["nuclei"]) + rng.choice(parts["codas"])
        for _ in range(rng.choice((1, 2, 2, 3)))
    )


def _letter_chain(rng: random.Random, _: tuple[str, ...]) -> str:
    word, letter = "", rng.choice(string.ascii_lowercase)
    while len(word) < 10 and (letter != " " or len(word) < 3):
        word += letter.strip()
        letter = rng.choice(_followers().get(letter, string.ascii_lowercase))
    return word


def _any_letters(rng: random.Random, _: tuple[str, ...]) -> str:
    return "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(3, 8)))


def _joined(rng: random.Random, pieces: tuple[str, ...]) -> str:
    return "".join(rng.choice(pieces) for _ in range(rng.choice((1, 2, 2, 3))))


@cache
def _followers() -> dict[str, str]:
    """For each letter, those that follow it in the training lists, as often as they do; a space ends a word."""
    text = " ".join(word for kind in _english("train") for word in kind if word.replace(" ", "").isalpha())
    followers: dict[str, str] = {}
    for letter, following in itertools.pairwise(f" {text} "):
        followers[letter] = followers.get(letter, "") + following
    return followers
