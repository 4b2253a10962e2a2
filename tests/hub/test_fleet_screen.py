"""The page that `sled-hub top` shows, as text."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.cells import cell_len
from rich.console import Console

from hub.fleet.columns import figure, memory, since, whole
from hub.fleet.order import Sort
from hub.fleet.screen import page
from tests.published_fleet import PublishedFleet

NOTE = "the connection to the broker at broker.local:8883 is lost"


@pytest.fixture
def told() -> PublishedFleet:
    told = PublishedFleet()
    for name, tokens in (("den", 100), ("attic", 40)):
        told.start_hub(name)
        for second in (1, 2):
            told.count(
                name, second, committed=tokens * second, drafted=50 * second, accepted=40 * second, target_forwards=20 * second,
                forward_us=250_000 * second, sessions=3, kv_bytes=2**32, held_bytes=2**29, up_s=7200.0 + second,
            )  # fmt: skip
    told.start_hub("gone")
    told.hub("gone", "status", {"online": False})
    told.start_node(
        "pi",
        tokens_per_s=31.5,
        acceptance=0.75,
        answers=9,
        mode="speculate",
        draft={"version": "model:0123456789abcdef", "fallen": True},
        hub="den",
        up_s=90.0,
        at_us=5_000_000,
        answered_us=1_000_000,
    )
    return told


def shown(told: PublishedFleet, width: int, height: int = 40, *notes: str, color: bool = False) -> str:
    file = StringIO()
    console = Console(
        file=file,
        width=width,
        height=height,
        force_terminal=color,
        highlight=False,
        markup=False,
        color_system="standard" if color else None,
    )
    console.print(page(told.fleet.view, width, height, Sort.LOAD, notes))
    return file.getvalue()


def row(text: str, name: str) -> str:
    return next(" ".join(line.split()) for line in text.splitlines() if line.startswith(f"{name} "))


def test_a_wide_terminal_has_every_column(told: PublishedFleet) -> None:
    text = shown(told, 140)
    assert text.splitlines()[0] == "hubs: 2 online, 1 offline; nodes: 1 online; 140 tok/s"
    assert row(text, "hub") == "hub state pair target device sess tok/s acc fwd/s tok/fwd busy K/V faults/s version"
    assert row(text, "den") == "den online 2 h home home/float32 cpu 3 100 80% 20.0 5.0 25% 512M/4.0G 0.0 0.1.0"
    assert row(text, "node") == "node state pair draft mode hub tok/s acc now wait done errors last version"
    assert row(text, "pi") == "pi online 1 min home fallen model:01234567 speculate den 31.5 75% 0 0 9 4 s 0.1.0"
    assert row(text, "gone").startswith("gone offline")
    assert "q leaves" in text


def test_a_narrow_terminal_has_what_matters_most(told: PublishedFleet) -> None:
    text = shown(told, 60)
    assert max(map(cell_len, text.splitlines())) <= 60
    assert {"hub", "state", "sess", "tok/s", "acc", "busy"} <= set(row(text, "hub").split())
    assert not {"version", "pair", "target"} & set(row(text, "hub").split())
    assert row(text, "den").startswith("den online 2 h")
    assert {"node", "state", "mode", "tok/s", "wait", "done"} <= set(row(text, "node").split())
    assert row(text, "pi").startswith("pi online")


@pytest.mark.parametrize("width", [1, 10, 20])
def test_a_terminal_that_is_too_narrow_shows_what_it_can(told: PublishedFleet, width: int) -> None:
    assert max(map(cell_len, shown(told, width).splitlines())) <= width


@pytest.mark.parametrize(("hubs", "nodes", "more"), [(300, 500, ["285", "484"]), (4, 500, ["472"]), (300, 2, ["270"])])
def test_hundreds_are_cut(hubs: int, nodes: int, more: list[str]) -> None:
    told = PublishedFleet()
    for n in range(hubs):
        told.start_hub(f"hub-{n:03}")
    for n in range(nodes):
        told.start_node(f"node-{n:03}")
    lines = shown(told, 80, 40).splitlines()
    assert [line for line in lines if "more" in line] == [f"… and {each} more" for each in more]
    assert len(lines) <= 40
    assert lines[-1].startswith("q leaves")


def test_what_is_wrong_stands_above_and_takes_its_room(told: PublishedFleet) -> None:
    for n in range(100):
        told.start_node(f"node-{n:03}")
    lines = shown(told, 60, 24, NOTE, "x" * 150).splitlines()
    assert lines[1] == NOTE
    assert len(lines) <= 24


def test_an_empty_fleet_is_told_in_words() -> None:
    told = PublishedFleet()
    assert shown(told, 80, 24, "nothing was heard").splitlines() == [
        "hubs: none; nodes: none; 0.0 tok/s",
        "nothing was heard",
        "",
        "q leaves; first: l the busiest, n by name, s the silent",
    ]
    told.start_node("pi")
    assert "no hub was heard of" in shown(told, 80)


def test_hostile_texts_do_nothing_to_the_terminal(told: PublishedFleet) -> None:
    told.start_hub("den", pair="[bold red]x[/] :smile:", target="\x1b[2J\x1b]52;c;eA==\x07", device="\u202ecpu\n\r\t")
    text = shown(told, 200)
    assert "[bold red]x[/] :smile:" in text
    assert "\\x1b[2J\\x1b]52" in text
    assert not [c for c in text if not c.isprintable() and c != "\n"]


def test_colours_say_what_is_wrong_and_nothing_else(told: PublishedFleet) -> None:
    red, yellow = "\x1b[31m", "\x1b[33m"
    assert red not in shown(told, 140, color=True)
    assert f"{yellow}fallen" in shown(told, 140, color=True)
    told.start_hub("kept", kept=True)
    assert f"{yellow}online?" in shown(told, 140, color=True)
    told.clock.sleep(4)
    assert f"{red}silent" in shown(told, 140, color=True)
    assert "\x1b" not in shown(told, 140)


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (since(None), ""), (since(0.4), "0 s"), (since(59.9), "59 s"), (since(3599), "59 min"), (since(1e9), "11574 d"),
        (figure(None), ""), (figure(0.04), "0.0"), (figure(99.96), "100"), (figure(123_456), "123456"), (figure(2**53), "9007T"),
        (whole(None), ""), (whole(999_999), "999999"), (whole(2**53), "9007T"),
        (memory(None), ""), (memory(900), "900"), (memory(2**31), "2.0G"), (memory(2**53), "8192T"),
    ],
)  # fmt: skip
def test_figures_are_short(shown: str, text: str) -> None:
    assert shown == text
