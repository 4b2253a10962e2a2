"""How sure calls are, and what is asked in place of making them."""

from __future__ import annotations

import math

import pytest
from tokenizers import Tokenizer

from edge_node.dialogue.doubts import Doubt, Doubts
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
    doubt = doubts.about(f"{CALL}\n{SAID}", [*calls, *said], [*[1] * len(calls), *[5000] * len(said)], "")
    assert doubt.sure == pytest.approx(math.exp(-len(calls) / 1e3), abs=2e-3)
    assert doubt.says == ""


def test_one_unsure_id_of_a_call_asks_back() -> None:
    calls, said = ids(f"{CALL}\n"), ids(SAID)
    surprisal = [0] * len(calls) + [0] * len(said)
    surprisal[4] = 1200
    doubt = Doubts(AS_SAID, TOKENIZER).about(f"{CALL}\n{SAID}", [*calls, *said], surprisal, "")
    assert doubt.sure == pytest.approx(math.exp(-1.2), abs=1e-3)
    assert doubt.says == "Did you mean: turn on the kitchen?"


def test_an_answer_without_calls_has_no_confidence() -> None:
    said = ids("There is no cellar in this home.")
    assert Doubts(AS_SAID, TOKENIZER).about("There is no cellar in this home.", said, [9000] * len(said), "") == Doubt()


def test_where_a_hub_has_not_said_how_sure_it_is_nothing_is_doubted() -> None:
    calls = ids(f"{CALL}\n")
    told: list[int | None] = [9000] * len(calls)
    told[2] = None
    assert Doubts(AS_SAID, TOKENIZER).about(f"{CALL}\n", calls, told, "") == Doubt()


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


LISTED = "Areas: kitchen, living room\nFloors: attic\nDevices: bed light, Sofa Lamp"
BY_LIST = Doubts(AS_SAID, TOKENIZER, load_pair("home").listed)


def doubt_of(call: str, said: str, request: str, nats: int = 0, system: str = LISTED) -> Doubt:
    written = ids(f"{call}\n{said}")
    return BY_LIST.about(f"{call}\n{said}", written, [nats] * len(written), request, system)


def test_what_the_home_has_not_is_said_by_its_name_and_not_asked_about() -> None:
    doubt = doubt_of(CALL.replace("kitchen", "cellar"), "Turned on the cellar.", "turn on the cellar", nats=500)
    assert (doubt.says, doubt.lacks) == ("There is no cellar in this home, so I changed nothing.", True)
    assert doubt.as_listed == doubt.says
    assert doubt.sure is not None


@pytest.mark.parametrize(("nats", "question"), [(0, ""), (500, "Did you mean: turn on the attic?")])
def test_what_is_listed_as_something_else_is_called_so_without_a_question(nats: int, question: str) -> None:
    doubt = doubt_of(CALL.replace("kitchen", "attic"), "Turned on the attic.", "attic on", nats)
    assert (doubt.says, doubt.lacks) == (question, False)
    assert doubt.as_listed == '{"name":"HassTurnOn","arguments":{"floor":"attic"}}\nTurned on the attic.'


def test_a_name_that_is_almost_that_of_a_device_is_asked_about_however_sure_the_pair_is() -> None:
    doubt = doubt_of(CALL.replace('"area":"kitchen', '"name":"sofa lamb'), "Turned on the sofa lamb.", "sofa lamb on")
    assert doubt.says == "Did you mean: turn on the Sofa Lamp?"
    assert doubt.as_listed == '{"name":"HassTurnOn","arguments":{"name":"Sofa Lamp"}}\nTurned on the Sofa Lamp.'


@pytest.mark.parametrize("system", ["", "You are a butler, and brief.", LISTED])
def test_what_is_listed_and_what_no_list_is_there_for_is_left_as_it_is(system: str) -> None:
    doubt = doubt_of(CALL, SAID, "turn on the kitchen", system=system)
    assert doubt == Doubt(doubt.sure)
    assert doubt.sure == pytest.approx(1.0)


def test_the_list_is_minded_where_no_hub_says_how_sure_it_is() -> None:
    text = CALL.replace("kitchen", "cellar")
    doubt = BY_LIST.about(text, ids(text), [None] * len(ids(text)), "cellar on", LISTED)
    assert doubt.lacks
    assert doubt.sure is None


@pytest.mark.parametrize(
    ("request_", "is_denied"),
    [
        ("Don't turn on the lamp", True),
        ("don\u2019t you dare", True),
        ("never, ever", True),
        ("turn on the knot lamp", False),
        ("nevermind", False),
        ("never mind", False),
        ("if you don't mind, lamp on", False),
        ("why don't you never turn it on", True),
        ("", False),
    ],
)
def test_what_denies_is_a_word_of_its_own_outside_of_some_phrases(request_: str, *, is_denied: bool) -> None:
    doubts = Confidence(
        0.0, 1.0, 0.5, denials=("don't", "never", "not"), not_denials=("never mind", "don't mind", "why don't")
    )
    assert doubts.is_denied(request_) == is_denied
    assert not AS_SAID.is_denied(request_)


def test_what_somebody_denies_is_asked_back_about_however_sure_it_is() -> None:
    doubts = Doubts(Confidence(0.0, 1.0, 0.5, denials=("don't",)), TOKENIZER)
    written = ids(f"{CALL}\n{SAID}")
    said = doubts.about(f"{CALL}\n{SAID}", written, [0] * len(written), "don't turn on the kitchen").says
    assert said == "Did you mean: Turned on the kitchen?"
    assert doubts.about(f"{CALL}\n{SAID}", written, [0] * len(written), "turn on the kitchen").says == ""
