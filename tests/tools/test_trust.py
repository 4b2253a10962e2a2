"""What `bench pair` asks where a home has to trust the pair."""

from __future__ import annotations

from collections import Counter

import pytest

from edge_node.dialogue.answer import Answer
from edge_node.dialogue.calls import CallReader
from edge_node.dialogue.tokenizer import Turn
from shared.pair import load_pair
from shared.typed_text import plain_line
from tools.bench.asking import AskedRequest
from tools.bench.trust import (
    acted,
    acted_by_kind,
    in_a_home,
    must_change_nothing,
    same_calls,
    share_right,
    typed,
    usual,
)
from tools.home.data.generate import Exchange, refusal_kinds

CALL = '{"name":"HassTurnOn","arguments":{"area":"Hall"}}'


def asked(text: str, exchange: Exchange) -> AskedRequest:
    return AskedRequest(exchange, (Turn("user", exchange.request),), Answer(text=text))


def test_every_kind_is_asked_as_often() -> None:
    kinds = refusal_kinds()
    drawn = must_change_nothing(4 * len(kinds), 1)
    assert Counter(each.exchanges[0].kind for each in drawn) == dict.fromkeys(kinds, 4)
    assert drawn == must_change_nothing(4 * len(kinds), 1)
    assert len({each.exchanges[0].request for each in drawn}) > 0.9 * len(drawn)


@pytest.mark.parametrize(("text", "is_act"), [("I see.", False), (f"{CALL}\nDone.", True), ('{"name":"Hass', True)])
def test_a_call_and_what_was_to_be_one_are_acts(text: str, is_act: bool) -> None:
    answer = asked(text, Exchange("x", (), "I see.", "report"))
    assert acted(answer) == is_act
    assert acted_by_kind([answer, asked("No.", answer.exchange)]) == {"report": 0.5 * is_act}


def test_what_people_say_most_is_answered_by_calls_that_the_pair_has() -> None:
    asked_most, reader = usual(), CallReader(load_pair("home"))
    assert len(asked_most) > 100
    for each in asked_most:
        (one,) = each.exchanges
        read = reader.read(one.answer)
        assert [(call.name, call.arguments) for call in read.calls] == list(one.calls), one.request
        assert not read.refused


def test_the_spellings_of_a_request_reach_the_model_alike() -> None:
    groups = typed(40, 2)
    for group in groups:
        forms = [each.exchanges[0].request for each in group]
        assert len({*forms}) > 7
        assert len({plain_line(form).casefold().rstrip("!") for form in forms}) == 1
    call = Exchange("x", (("HassTurnOn", {"area": "Hall"}),), "Done.")
    same = [asked(f"{CALL}\nDone.", call), asked(f"{CALL.lower()}\nDone.".replace("hassturnon", "HassTurnOn"), call)]
    assert same_calls([same]) == 1.0
    assert same_calls([[same[0], asked("Done.", call)]]) == 0.0
    assert share_right(same[:1]) == 1.0


@pytest.mark.parametrize("size", [5, 400])
def test_a_home_is_listed_as_the_service_lists_it(size: int) -> None:
    for each in in_a_home(size, 10, 3):
        (only,) = each.exchanges
        devices = next((line for line in (each.system or "").splitlines() if line.startswith("Devices: ")), "")
        assert devices.count(",") < 12
        for _, arguments in only.calls:
            if size == 5 and "area" in arguments and "Areas" in (each.system or ""):
                assert arguments["area"].lower() in (each.system or "").lower() or arguments["area"] == "outside"
