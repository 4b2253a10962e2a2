"""The generator of the built-in pair: what a phrase draws, and that held-out words stay out of training."""

from __future__ import annotations

import json
import random

import pytest

from tools.home.generate import ARGUMENT_ORDER, entries, exchange
from tools.home.grammar import expand
from tools.home.values import HELD_OUT, Source, Values, invented_word, number_words, words


def wordings(phrase: str) -> set[str]:
    rng = random.Random(0)
    return {expand(phrase, rng, lambda slot: slot.upper()) for _ in range(200)}


def test_a_phrase_draws_every_alternative() -> None:
    assert wordings("(turn|switch) on [the|my] {name}") == {
        f"{verb} on {article}NAME" for verb in ("turn", "switch") for article in ("", "the ", "my ")
    }
    assert wordings("a (b [c]|d)") == {"a b", "a b c", "a d"}


@pytest.mark.parametrize("phrase", ["(a", "a)", "[a|b", "a]", "{a", "(a]", "a}b"])
def test_stray_brackets_are_an_error(phrase: str) -> None:
    with pytest.raises(ValueError, match="bracket|brace|not closed"):
        expand(phrase, random.Random(0), str)


def test_every_entry_can_be_drawn_with_its_slots() -> None:
    values = Values(random.Random(0), Source("train"))
    for entry in entries():
        for phrase in (*entry.phrases, *entry.terse):
            drawn: dict[str, str] = {}

            def fill(slot: str, drawn: dict[str, str] = drawn) -> str:
                value = values.draw(slot)
                drawn[slot] = value.said
                assert set(value.arguments) <= set(ARGUMENT_ORDER)
                return value.spoken

            expand(phrase, random.Random(1), fill)
            entry.say.format_map(drawn)


def test_the_named_intents_are_covered() -> None:
    names = {entry.name for entry in entries()}
    wanted = {"HassTurnOn", "HassTurnOff", "HassLightSet", "HassClimateSetTemperature", "HassStartTimer",
              "HassShoppingListAddItem", "RobotMove", "RobotTurn", "RobotGoTo", "RobotStop"}  # fmt: skip
    assert wanted <= names


def test_held_out_words_are_never_drawn_for_training() -> None:
    train, held_out = words("train"), words("held_out")
    for kind, kept in held_out.items():
        assert not set(kept) & set(train[kind])
    rng = random.Random(3)
    trained = {invented_word(rng, Source("train", pieces=("bl", "ator", "en", "den"))) for _ in range(4000)}
    asked = {invented_word(rng, HELD_OUT) for _ in range(2000)}
    assert not trained & asked
    assert not trained & {word for kept in held_out.values() for text in kept for word in text.split()}


def test_an_answer_is_calls_and_a_sentence() -> None:
    rng = random.Random(5)
    for _ in range(300):
        drawn = exchange(rng, Source("train"))
        *calls, say = drawn.answer.split("\n")
        assert [tuple(json.loads(call).values()) for call in calls] == [tuple(call) for call in drawn.calls]
        assert say == drawn.say
        assert say.endswith(".")
        for _, arguments in drawn.calls:
            for value in arguments.values():
                copied = isinstance(value, str) and value.lower() in drawn.request.lower()
                assert (
                    copied or value in ("light", "fan", "switch", "forward", "backward") or not isinstance(value, str)
                )


def test_number_words() -> None:
    assert [number_words(n) for n in (0, 13, 20, 42, 100)] == ["zero", "thirteen", "twenty", "forty two", "one hundred"]
