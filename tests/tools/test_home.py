"""The generator of the built-in pair: what a phrase draws, that held-out words stay out of training, that calls fit the schema."""

from __future__ import annotations

import copy
import itertools
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from edge_node.dialogue.calls import CallReader
from shared.pair import load_pair
from shared.typed_text import plain_line, plain_lines
from tools.home.data import generate, invent, numbers
from tools.home.data.disorder import capital, filled, misspelt, plain, value
from tools.home.data.generate import Dialogue, dialogue, exchange, refusal, refusal_kinds
from tools.home.data.grammar import expand, rules, slots_of, tell
from tools.home.data.homes import Home, draw_home
from tools.home.data.intents import Clause, Entry, FollowUp, entries, follow_ups, ordered, schema
from tools.home.data.invent import HELD_OUT, NEW_PHRASING, Source, invented_word, words
from tools.home.data.names import Names
from tools.home.data.values import Value, Values

TRAIN = Source("train")
HOME = Home(("den", "hall"), ("loft",), (("name", "hall light"), ("lamp", "desk lamp")))


def wordings(phrase: str) -> set[str]:
    rng = random.Random(0)
    return {expand(phrase, rng, lambda slot: slot.upper()) for _ in range(200)}


def drawn(count: int, source: Source = TRAIN, seed: int = 0) -> Iterator[Dialogue]:
    rng = random.Random(seed)
    return (dialogue(rng, source) for _ in range(count))


def test_a_phrase_draws_every_alternative() -> None:
    assert wordings("(turn|switch) on [the|my] {name}") == {
        f"{verb} on {article}NAME" for verb in ("turn", "switch") for article in ("", "the ", "my ")
    }
    assert wordings("a (b [c]|d)") == {"a b", "a b c", "a d"}


def test_a_rule_stands_for_its_phrase() -> None:
    assert wordings("go <every>") == {f"go {text}" for text in wordings(rules()["every"])}
    with pytest.raises(KeyError):
        wordings("<no_such_rule>")


@pytest.mark.parametrize("phrase", ["(a", "a)", "[a|b", "a]", "{a", "(a]", "a}b", "a<b", "a>"])
def test_stray_brackets_are_an_error(phrase: str) -> None:
    with pytest.raises(ValueError, match="bracket|brace|not closed"):
        expand(phrase, random.Random(0), str)


def test_a_reply_leaves_out_what_was_not_given() -> None:
    assert tell("paused[ the {name}][ {where}]", {"where": "in the hall"}) == "paused in the hall"
    assert tell("paused[ the {name}][ {where}]", {"name": "tv", "where": "outside"}) == "paused the tv outside"


def test_every_phrase_asks_for_slots_that_exist() -> None:
    values = Values(random.Random(0), TRAIN, HOME, command=lambda: "stop", order=lambda: "stop")
    phrases = [p for e in entries() for p in (*e.phrases, *e.terse, *e.unseen)]
    phrases += [p for f in follow_ups() for p in (*f.phrases, *f.unseen)]
    for slot in set().union(*map(slots_of, phrases)) - {"same_unit"}:
        values.draw(slot)  # KeyError for one that is not there


def test_a_follow_up_loses_nothing_that_it_draws() -> None:
    for follow_up in follow_ups():
        slots = frozenset().union(*map(slots_of, (*follow_up.phrases, *follow_up.unseen)))
        if follow_up.becomes:
            assert not slots
        for entry in entries():
            if slots and entry.name in follow_up.after:
                values = Values(
                    random.Random(0),
                    TRAIN,
                    command=lambda: "stop",
                    order=lambda: "stop",
                    floors="floor" in schema()[entry.name],
                )
                drawn = (values.draw(slot).arguments for slot in slots - {"same_unit"})
                assert {key for arguments in drawn for key in arguments} <= {*schema()[entry.name]}, follow_up


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: f"{entry.name}: {entry.say}")
def test_every_phrase_makes_a_call_that_loses_nothing(entry: Entry) -> None:
    rng = random.Random(1)
    needed = set(re.findall(r"\{(\w+)\}", re.sub(r"\[[^\]]*\]", "", entry.say)))
    for phrase in (*entry.phrases, *entry.terse, *entry.unseen):
        for _ in range(8):
            slots: dict[str, Value] = {}
            floors = "floor" in schema().get(entry.name, ())
            values = Values(
                rng, TRAIN, HOME if entry.home else None, floors=floors, command=lambda: "stop", order=lambda: "stop"
            )

            def fill(slot: str, slots: dict[str, Value] = slots, values: Values = values) -> str:
                got = values.draw(slot)
                if got.key:
                    slots[got.key] = got
                return got.spoken

            expand(phrase, rng, fill)
            clause = Clause(entry, phrase, slots)
            assert needed <= set(slots), f"the reply of {phrase!r} needs {needed}"
            wanted = {**entry.args, **{k: v for got in slots.values() for k, v in got.arguments.items()}}
            lost = set(wanted) - set(clause.arguments) if entry.name else set()
            assert lost <= {"domain"}, f"{phrase!r} asks for {lost}, which {entry.name} has not"
            if lost:
                assert "lit_target" in slots_of(phrase)


def test_a_seed_draws_the_same_dialogues_in_every_process() -> None:
    script = (
        "import random; from tools.home.data.generate import dialogue; from tools.home.data.invent import HELD_OUT;"
    )
    script += "rng = random.Random(3); print([dialogue(rng, HELD_OUT) for _ in range(60)])"
    drawn = {
        subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(drawn) == 1


def test_a_word_after_free_text_is_never_put_there_for_politeness() -> None:
    rng = random.Random(0)
    entry = next(e for e in entries() if e.name == "HassListAddItem")
    ending = replace(entry, phrases=("note on my {list} list: {task}",), terse=())
    for _ in range(300):
        clause = generate._clause(ending, rng, TRAIN, None)
        assert clause.text.endswith(value(clause.drawn["task"].spoken))


def test_every_call_of_the_schema_is_taught_and_fits_it() -> None:
    reader = CallReader(load_pair("home"))
    taught: set[str] = set()
    for source in (TRAIN, HELD_OUT, NEW_PHRASING):
        for each in (e for d in drawn(1200, source) for e in d.exchanges):
            reading = reader.read(each.answer)
            assert not reading.refused
            assert [(call.name, dict(call.arguments)) for call in reading.calls] == list(each.calls)
            assert reading.say == each.say
            taught.update(name for name, _ in each.calls)
    assert taught == set(schema())


def test_every_intent_has_phrasings_that_training_never_sees() -> None:
    measured = {entry.name for entry in entries() if entry.unseen}
    assert measured == set(schema()) | {""}
    for entry in entries():
        assert not set(entry.unseen) & {*entry.phrases, *entry.terse}


@pytest.mark.slow
def test_no_request_means_two_things(monkeypatch: pytest.MonkeyPatch) -> None:
    # With few words there are few requests, so that what could collide does: those that stand in two lists, and a few more.
    lists = copy.deepcopy(invent._lists())
    counts = Counter(text for texts in (*lists["train"].values(), *lists["heads"].values()) for text in set(texts))
    lists["train"] = {
        kind: [*texts[:2], *(text for text in texts[2:] if counts[text] > 1)] for kind, texts in lists["train"].items()
    }
    monkeypatch.setattr(invent, "_lists", lambda: lists)
    rng = random.Random(0)
    meant: dict[str, set[str]] = {}
    for entry in entries():
        for phrase in () if entry.home else (*entry.phrases, *entry.terse):
            only = replace(entry, phrases=(phrase,), terse=())
            for _ in range(50):
                clause = generate._clause(only, rng, Source("train", invented=0.0), None)
                call = json.dumps([clause.entry.name, clause.arguments]).lower()
                meant.setdefault(plain(clause.text).lower(), set()).add(call)
    assert not {text: calls for text, calls in meant.items() if len(calls) > 1}


def test_unseen_phrasings_are_drawn_for_measuring_alone() -> None:
    unseen = {p for e in entries() for p in e.unseen} | {p for f in follow_ups() for p in f.unseen}
    fixed = {p for p in unseen if not set(p) & set("([{<")}
    assert len(fixed) > 10
    trained = {e.request.lower().strip(".!?") for d in drawn(3000) for e in d.exchanges}
    asked = {e.request.lower().strip(".!?") for d in drawn(3000, NEW_PHRASING) for e in d.exchanges}
    assert not trained & fixed
    assert asked & fixed


@pytest.mark.slow
def test_no_unseen_phrasing_is_a_trained_one_with_politeness_around_it() -> None:
    polite = generate._wraps()
    before = ["", *(f"{words} ".replace(" ,", ",") for words in polite["before"])]
    after = ["", *(f" {words}".replace(" ,", ",") for words in polite["after"])]
    every: list[Entry | FollowUp] = [*entries(), *follow_ups()]
    for entry in every:
        unseen = set().union(*map(wordings, entry.unseen))
        trained = set().union(*map(wordings, entry.wordings(TRAIN)))
        ordering = set().union(*map(wordings, entry.phrases))
        assert not unseen & trained
        plain = {text.replace(" ,", ",") for text in ordering}
        for text in unseen:
            firsts, lasts = filter(text.startswith, before), list(filter(text.endswith, after))
            for first, last in itertools.product(firsts, lasts):
                assert text[len(first) : len(text) - len(last)] not in plain


def test_held_out_words_are_never_drawn_for_training() -> None:
    train, held_out = words("train"), words("held_out")
    for kind, kept in held_out.items():
        assert not set(kept) & set(train[kind])
    rng = random.Random(3)
    trained = {invented_word(rng, Source("train", pieces=("bl", "ator", "en", "den"))) for _ in range(4000)}
    asked = {invented_word(rng, HELD_OUT) for _ in range(2000)}
    assert not trained & asked
    assert not trained & {word for kept in held_out.values() for text in kept for word in text.split()}


def test_names_and_areas_asked_for_in_measuring_are_not_those_of_training() -> None:
    def names(source: Source, seed: int) -> set[str]:
        calls = (call for d in drawn(2500, source, seed) for e in d.exchanges for call in e.calls)
        copied = (arguments.get(key) for _, arguments in calls for key in ("name", "area"))
        return {text.lower() for text in copied if isinstance(text, str)}

    trained, asked = names(TRAIN, 1), names(HELD_OUT, 2)
    # Shared are bare nouns and the fixed words of phrases: "tv", "shopping", "kitchen" timer.
    shared = asked & trained
    assert len(shared) < 0.06 * len(asked)


def test_values_are_copied_as_they_were_typed() -> None:
    copied = {"name", "area", "floor", "item", "place", "search_query", "message", "conversation_command"}
    for d in drawn(800):
        exchanged = d.exchanges[0]
        for name, arguments in exchanged.calls:
            for key in copied & arguments.keys() - ({"name"} if name == "HassListRemoveItem" else set()):
                assert arguments[key] in exchanged.request


def test_an_answer_is_calls_and_a_sentence() -> None:
    rng = random.Random(5)
    counts = set()
    for _ in range(300):
        each = exchange(rng, TRAIN)
        *calls, say = each.answer.split("\n")
        assert [tuple(json.loads(call).values()) for call in calls] == [tuple(call) for call in each.calls]
        assert say == each.say
        assert say.endswith(".")
        counts.add(len(calls))
    assert counts == {0, 1, 2, 3}


def test_arguments_stand_in_the_order_of_the_schema() -> None:
    assert list(ordered("HassTurnOn", {"domain": "light", "area": "hall"})) == ["area", "domain"]


def test_a_list_of_the_home_decides_what_a_name_is() -> None:
    rng = random.Random(4)
    values = Values(rng, TRAIN, HOME)
    kinds = {values.draw("target").arguments.popitem() for _ in range(200)}
    lowered = {(kind, name.lower()) for kind, name in kinds}
    assert lowered == {
        ("area", "den"),
        ("area", "hall"),
        ("floor", "loft"),
        ("name", "hall light"),
        ("name", "desk lamp"),
    }
    lit = {(v.spoken, "name" in v.arguments) for v in (values.draw("lit_target") for _ in range(100))}
    assert lit == {("hall light", True), ("hall lights", False)}


def test_a_home_is_listed_with_all_it_has() -> None:
    rng = random.Random(0)
    names = Names(rng, TRAIN)
    for _ in range(50):
        home = draw_home(rng, names.area, names.floor, names.text)
        text = home.listed(rng).lower()
        assert all(name.lower() in text for name in (*home.areas, *home.floors, *(n for _, n in home.devices)))


def followed(name: str, phrase: str) -> list[tuple[str, str, dict[str, object]]]:
    """What can follow the request that `phrase` of the intent `name` draws: text, call and arguments."""
    entry = next(e for e in entries() if e.name == name and phrase in (*e.phrases, *e.terse))
    rng = random.Random(0)
    first = generate._clause(replace(entry, phrases=(), terse=(phrase,)), rng, TRAIN, None)
    later = filter(None, (generate._follow(first, rng, TRAIN, None) for _ in range(300)))
    return [(plain(each.text), each.entry.name, {**each.arguments, "first": first.arguments}) for each in later]


def test_a_later_request_keeps_what_it_does_not_replace() -> None:
    later = followed("HassTurnOff", "{room} <lights> off")
    assert {name for _, name, _ in later} == {"HassTurnOn", "HassTurnOff"}
    for text, name, arguments in later:
        first = arguments.pop("first")
        if name == "HassTurnOn":  # taken back
            assert arguments == first
        else:
            assert arguments["domain"] == "light"
            (place,) = arguments.keys() - {"domain"}
            assert str(arguments[place]) in text


def test_a_started_timer_is_cancelled_by_its_length() -> None:
    cancelled = [a for _, name, a in followed("HassStartTimer", "timer {duration}") if name == "HassCancelTimer"]
    assert cancelled
    for arguments in cancelled:
        first = arguments.pop("first")
        assert arguments == {f"start_{unit}": n for unit, n in first.items()}  # type: ignore[attr-defined]


def test_disorder_leaves_values_alone() -> None:
    rng = random.Random(2)
    spoken = value("zorvik lamp")
    results = {misspelt(f"switch {spoken} off please", rng) for _ in range(100)}
    assert len(results) > 20
    assert all(spoken in result for result in results)
    results = {filled(f"switch the {spoken} off right now", rng, ["just"]) for _ in range(50)}
    assert {plain(result).replace("zorvik lamp", "X") for result in results} == {
        "switch just the X off right now",
        "switch the X off just right now",
        "switch the X off right just now",
    }
    assert plain(capital("turn it on, i said")) == "Turn it on, I said"


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (20, "twenty"),
        (42, "forty two"),
        (100, "one hundred"),
        (215, "two hundred fifteen"),
    ],
)
def test_number_words(n: int, text: str) -> None:
    assert numbers.number_words(n) == text


def test_numbers_are_spoken_in_words_and_digits() -> None:
    rng = random.Random(0)
    assert {numbers.spoken_number(21.5, rng) for _ in range(50)} >= {"21.5", "twenty one point five"}
    assert {numbers.spoken_number(-3, rng) for _ in range(50)} == {"-3", "minus three"}


def test_durations_mean_what_they_say() -> None:
    rng = random.Random(0)
    seen = dict(numbers.duration(rng) for _ in range(5000))
    assert seen["a quarter of an hour"] == {"minutes": 15}
    assert seen["an hour and a half"] == {"hours": 1, "minutes": 30}
    assert seen["5 minutes"] == {"minutes": 5}
    assert numbers.same_unit({"hours": 2}, rng)[1].keys() == {"hours"}


def test_distances_are_in_metres() -> None:
    rng = random.Random(0)
    seen = {spoken: meters for spoken, meters, _ in (numbers.distance(rng) for _ in range(3000))}
    assert seen["50 cm"] == 0.5
    assert seen["half a meter"] == 0.5
    assert seen["2 meters"] == 2


def test_requests_that_must_change_nothing_are_of_many_kinds_and_call_nothing() -> None:
    assert {"negation", "hypothetical", "report", "nonsense", "fragment", "language", "rules", "range", "unknown"} <= {
        *refusal_kinds()
    }
    rng = random.Random(0)
    for kind in refusal_kinds():
        for source in (TRAIN, HELD_OUT, NEW_PHRASING):
            (only,) = refusal(rng, source, kind).exchanges
            assert (only.kind, only.calls) == (kind, ())
            assert only.say == only.answer
            assert only.say[0].isupper()


def test_what_a_list_of_the_home_has_not_is_refused_and_what_it_has_is_not() -> None:
    told = [(d, e) for d in drawn(3000, replace(TRAIN, homes=1.0), seed=4) for e in d.exchanges]
    unknown = [(d, e) for d, e in told if e.kind == "unknown"]
    assert 0.01 < len(unknown) / len(told) < 0.2
    for dialogue_drawn, exchange_drawn in unknown:
        thing = exchange_drawn.say.removeprefix("There is no ").removesuffix(" in this home, so I changed nothing.")
        assert thing.lower() in plain_line(exchange_drawn.request).lower()
        names = re.split(r", |: |; |\. |\n", (dialogue_drawn.system or "").lower())
        assert thing.lower() not in names
    switched = [(d, name) for d, e in told for n, a in e.calls if n == "HassLightSet" and (name := a.get("area"))]
    assert switched
    assert all(
        name.lower() in (d.system or "").lower() or name in ("upstairs", "outside", "downstairs")
        for d, name in switched
    )


def test_requests_are_in_the_characters_that_the_model_is_given() -> None:
    for dialogue_drawn in drawn(2000):
        assert dialogue_drawn.system is None or plain_lines(dialogue_drawn.system) == dialogue_drawn.system
        assert all(plain_line(each.request) == each.request for each in dialogue_drawn.exchanges)
