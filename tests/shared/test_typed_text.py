"""What people type, in plain characters."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.typed_text import plain_line, plain_lines


@pytest.mark.parametrize(
    ("typed", "plain"),
    [
        ("don’t turn on the café lamp…", "don't turn on the cafe lamp"),
        ("set it to 21,5 °C", "set it to 21.5 degrees"),
        ("20ºC", "20 degrees"),
        ("set 72℉ now", "set 72 degrees now"),
        ("-2 degrees", "-2 degrees"),
        ("−2 degrees", "-2 degrees"),
        ("TURN ON\nTHE\tKITCHEN LIGHTS!!!", "turn on the kitchen lights!"),
        ("turn on 💡 the lamp 👍🏽", "turn on the lamp"),
        ("включи свет 20", "~ 20"),
        ("キッチンの電気をつけて", "~"),
        ("set timer for 2½ hours", "set timer for 2.5 hours"),
        ("1 1/2 hours", "1.5 hours"),
        ("½ hour", "half hour"),
        ("for 31/2 hours", "for 31/2 hours"),
        ("turn on the “desk lamp”", "turn on the desk lamp"),
        ("1,000 kelvin", "1000 kelvin"),
        ("3,5,7", "3,5,7"),
        ("𝓉𝓊𝓇𝓃 on", "turn on"),
        ("a\u200bb", "ab"),
        ("Küche", "Kuche"),
        ("OK", "OK"),
        ("", ""),
    ],
)
def test_a_request_in_plain_characters(typed: str, plain: str) -> None:
    assert plain_line(typed) == plain


@given(st.text())
def test_whatever_was_typed_is_one_line_of_plain_characters_and_stays_so(typed: str) -> None:
    plain = plain_line(typed)
    assert plain.isascii()
    assert plain == "" or plain.isprintable()
    assert plain_line(plain) == plain


def test_the_lines_of_a_list_stay() -> None:
    assert plain_lines("Areas: Küche, “Büro”\n\nDevices: lamp\t1") == "Areas: Kuche, Buro\nDevices: lamp 1"


@pytest.mark.parametrize(
    "typed", [" " * 200_000, ". " * 100_000, "e\u0301\u0323" * 50_000, "\u0301\u0323" * 50_000, "." * 200_000]
)
def test_no_text_takes_long(typed: str) -> None:
    begun = time.process_time()
    plain_line(typed)
    assert time.process_time() - begun < 3
