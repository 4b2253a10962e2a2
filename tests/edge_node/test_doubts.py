"""How sure calls are, and what is asked in place of making them."""

from __future__ import annotations

import math

import pytest
from tokenizers import Tokenizer

from edge_node.dialogue.doubts import Doubts
from edge_node.dialogue.tokenizer import ChatTokenizer
from shared.confidence import Confidence
from shared.pair import load_pair

TOKENIZER = ChatTokenizer(load_pair("home"))
HOME = Tokenizer.from_file(str(load_pair("home").tokenizer))
AS_SAID = Confidence(offset=0.0, slope=1.0, ask_below=0.5, asks={"turned": "turn", "set": "set"})
CALL = '{"name":"HassTurnOn","arguments":{"area":"kitchen"}}'
SAID = "Turned on the kitchen."


def ids(text: str) -> list[int]:
    return list(HOME.encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("chance", [0.999, 0.9, 0.5, 0.01])
def test_offset_0_and_slope_1_leave_the_targets_probability_as_it_is(chance: float) -> None:
    assert AS_SAID.of(-math.log(chance)) == pytest.approx(chance, rel=1e-6)


def test_confidence_falls_as_surprisal_rises_and_never_leaves_0_to_1() -> None:
    fitted = Confidence(-0.4, 0.8, 0.6)
    told = [fitted.of(nats) for nats in (0.0, 1e-9, 0.01, 0.1, 1.0, 10.0, 65.0, 1e4, 1e7)]
    assert told == sorted(told, reverse=True)
    assert 0.99 < told[0] <= 1.0
    assert 0.0 <= told[-1] < 1e-6


def test_what_is_said_behind_the_calls_does_not_count() -> None:
    calls, said = ids(f"{CALL}\n"), ids(SAID)
    doubts = Doubts(AS_SAID, TOKENIZER)
    sure, question = doubts.about(f"{CALL}\n{SAID}", [*calls, *said], [*[1] * len(calls), *[5000] * len(said)], "")
    assert sure == pytest.approx(math.exp(-len(calls) / 1e3), abs=2e-3)
    assert question == ""


def test_one_unsure_id_of_a_call_asks_back() -> None:
    calls, said = ids(f"{CALL}\n"), ids(SAID)
    surprisal = [0] * len(calls) + [0] * len(said)
    surprisal[4] = 1200
    sure, question = Doubts(AS_SAID, TOKENIZER).about(f"{CALL}\n{SAID}", [*calls, *said], surprisal, "")
    assert sure == pytest.approx(math.exp(-1.2), abs=1e-3)
    assert question == "Did you mean: turn on the kitchen?"


def test_an_answer_without_calls_has_no_confidence() -> None:
    said = ids("There is no cellar in this home.")
    assert Doubts(AS_SAID, TOKENIZER).about("There is no cellar in this home.", said, [9000] * len(said), "") == (
        None,
        "",
    )


def test_where_a_hub_has_not_said_how_sure_it_is_nothing_is_doubted() -> None:
    calls = ids(f"{CALL}\n")
    told: list[int | None] = [9000] * len(calls)
    told[2] = None
    assert Doubts(AS_SAID, TOKENIZER).about(f"{CALL}\n", calls, told, "") == (None, "")


@pytest.mark.parametrize(
    ("said", "question"),
    [
        ("Turned on the lamp and set the volume to 9.", "Did you mean: turn on the lamp and set the volume to 9?"),
        ("Turned the salt and pepper mill off.", "Did you mean: turn the salt and pepper mill off?"),
        ("Abracadabra.", "Did you mean: Abracadabra?"),
        ("", "I am not sure what you mean. Please say it in other words."),
    ],
)
def test_a_question_says_what_would_be_done(said: str, question: str) -> None:
    assert AS_SAID.question(said) == question


LISTED = "Areas: kitchen, living room\nDevices: bed light, Sofa Lamp"
WITH_A_LIST = Confidence(0.0, 1.0, 0.5, unlisted=-3.0, names=("name", "area"), titles=("areas", "devices"))


@pytest.mark.parametrize(
    ("arguments", "is_unlisted"),
    [
        ({"name": "sofa lamp"}, False),
        ({"name": "Bed Light ", "area": "living room"}, False),
        ({"name": "bed"}, True),
        ({"name": "bed light", "area": "cellar"}, True),
        ({"item": "milk"}, False),
        ({"name": 3}, False),
        ({}, False),
    ],
)
def test_a_name_counts_as_listed_only_as_a_whole(arguments: dict[str, object], *, is_unlisted: bool) -> None:
    assert WITH_A_LIST.is_unlisted(arguments, LISTED) == is_unlisted
    assert not WITH_A_LIST.is_unlisted(arguments, "You are a butler, and brief.")
    assert not AS_SAID.is_unlisted(arguments, LISTED)


def test_what_the_list_has_not_is_less_sure() -> None:
    calls = ids(f"{CALL}\n")
    sure = [
        Doubts(WITH_A_LIST, TOKENIZER).about(f"{CALL}\n", calls, [2] * len(calls), "", system)[0]
        for system in (LISTED, LISTED.replace("kitchen", "hall"))
    ]
    assert sure[0] is not None
    assert sure[1] is not None
    odds = [each / (1 - each) for each in sure if each is not None]
    assert odds[0] / odds[1] == pytest.approx(math.exp(3))


@pytest.mark.parametrize(
    ("request_", "is_denied"),
    [
        ("Don't turn on the lamp", True),
        ("don\u2019t you dare", True),
        ("never, ever", True),
        ("turn on the knot lamp", False),
        ("nevermind", False),
        ("", False),
    ],
)
def test_what_denies_is_a_word_of_its_own(request_: str, *, is_denied: bool) -> None:
    doubts = Confidence(0.0, 1.0, 0.5, denied=-2.0, denials=("don't", "never", "not"))
    assert doubts.is_denied(request_) == is_denied
    assert not AS_SAID.is_denied(request_)


def test_a_denied_request_is_less_sure() -> None:
    odds = [
        chance / (1 - chance)
        for chance in (Confidence(0.0, 1.0, 0.5, denied=-2.0).of(0.1, is_denied=denied) for denied in (False, True))
    ]
    assert odds[0] / odds[1] == pytest.approx(math.exp(2))
