"""What a chat does with what is typed, kept and shown, without a terminal."""

from __future__ import annotations

import contextlib
import io
import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.dialogue.answer import Answer, Ending
from edge_node.dialogue.calls import CallReader
from edge_node.dialogue.conversation import Conversation
from edge_node.dialogue.provisional import ProvisionalTurn, SettledTurn
from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from edge_node.frontends.chat import kept_history
from edge_node.frontends.chat.commands import COMMANDS, Typed, help_text, is_open, read
from edge_node.frontends.chat.figures import Asked, described, ending_in_words
from edge_node.frontends.chat.kept_history import KeptHistory
from edge_node.frontends.chat.prompt import typed
from edge_node.frontends.chat.saved_chat import SavedChats
from edge_node.frontends.chat.screen import Screen, harmless
from edge_node.frontends.chat.shown_answer import ShownAnswer
from edge_node.rounds.cost import Cost
from edge_node.rounds.progress import Source
from shared.energy.meter import Known
from shared.errors import RequestError
from shared.pair import load_pair
from shared.sampling_parameters import Sampling

HOME = load_pair("home")
READER = CallReader(HOME)
TOKENIZER = ChatTokenizer(HOME)
SOURCES = (Source.DRAFTED, Source.CORRECTED)
TURN_ON = '{"name":"HassTurnOn","arguments":{"area":"kitchen"}}'


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("/stats", ("stats", "")),
        ("/STATS", ("stats", "")),
        ("/quit", ("bye", "")),
        ("/exit", ("bye", "")),
        ("/system  Areas: hall\nand den ", ("system", "Areas: hall\nand den")),
        ("/system\nAreas: hall", ("system", "Areas: hall")),
        ("//etc/hosts", ("", "/etc/hosts")),
        ("a /stats", ("", "a /stats")),
        ("", ("", "")),
    ],
)
def test_what_a_line_means(text: str, meant: tuple[str, str]) -> None:
    assert read(typed(text)) == meant
    assert read(Typed(text, is_quoted=True)) == ("", text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("/stast", "/stast is no command; did you mean /stats?"),
        ("/sav x", "did you mean /save?"),
        ("/", "/ is no command; /help lists them. A request that begins with / is typed as //"),
        ("/ stats", "/ is no command"),
        ("/qqqqqq", "/help lists them"),
        ("/retry now", "/retry takes nothing"),
    ],
)
def test_what_is_no_command_is_answered_with_the_nearest(text: str, says: str) -> None:
    with pytest.raises(RequestError) as raised:
        read(typed(text))
    assert says in str(raised.value)


def test_triple_quotes() -> None:
    assert [is_open(text) for text in ('"""', '"""a', '"""a"""', '""""""', 'a """', '""" """ ')] == [
        True, True, False, False, False, False,
    ]  # fmt: skip
    assert typed(' """\n  /a\nb\n""" ') == Typed("/a\nb", is_quoted=True)
    assert typed('"""open to the end') == Typed("open to the end", is_quoted=True)
    assert typed('say """ twice') == Typed('say """ twice')


@pytest.mark.parametrize("width", [30, 40, 80, 200])
def test_the_help_fits_the_terminal(width: int) -> None:
    lines = help_text(width).split("\n")
    assert max(map(len, lines)) <= width
    assert all(any(line.startswith(f"/{command.name}") for line in lines) for command in COMMANDS)


def test_history_is_bounded_private_and_mends_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "below" / "history"
    assert list(KeptHistory(file).load_history_strings()) == []
    for entry in ("one", "two\nlines", "ü\ud800", "x" * 20_000):
        KeptHistory(file).store_string(entry)
    assert list(KeptHistory(file).load_history_strings()) == ["two\nlines", "one"], (
        "what is no text or too long is left out"
    )
    file.chmod(0o644)
    KeptHistory(file).store_string("three")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with file.open("a") as damaged:
        damaged.write("{}\n3\nnot JSON\n")
    assert next(iter(KeptHistory(file).load_history_strings())) == "three"

    monkeypatch.setattr(kept_history, "_MOST_ENTRIES", 10)
    for number in range(20):
        KeptHistory(file).store_string(str(number))
    kept = list(KeptHistory(file).load_history_strings())
    assert kept == ["19", "18", "17", "16", "15"]
    assert list(KeptHistory(file).load_history_strings()) == kept

    file.write_bytes(b"\xff" * 20_000_000)
    assert list(KeptHistory(file).load_history_strings()) == []
    assert file.stat().st_size == 0


def test_a_history_that_cannot_be_kept_is_done_without(tmp_path: Path) -> None:
    for file in (tmp_path, Path("/dev/null/history")):
        history = KeptHistory(file)
        history.store_string("one")
        assert list(history.load_history_strings()) == []


class Loop:
    """A round loop that only forgets."""

    def reset(self) -> None:
        """Nothing is held."""


def conversation(system: str = "", *turns: Turn) -> Conversation:
    made = Conversation(TOKENIZER, cast(Any, Loop()))
    made.resume(system, turns, ())
    return made


def answered(text: str) -> Turn:
    return Turn("assistant", text, tuple(TOKENIZER.tokenizer.encode(text, add_special_tokens=False).ids))


def test_a_saved_chat_comes_back_with_its_ids(tmp_path: Path) -> None:
    kept = conversation(
        "Areas: hall", Turn("user", "turn on the kitchen"), answered(TURN_ON), Turn("user", "ü"), answered("Done.")
    )
    file, again = tmp_path / "chat.json", conversation()
    assert SavedChats().save(str(file), kept) == f"2 requests saved in {file}"
    said = SavedChats().load(str(file), again)
    assert "2 requests loaded" in said
    assert (again.turns, again.system) == (kept.turns, "Areas: hall")
    assert again.turns[2].ids


def test_ids_that_are_not_the_text_are_left_out(tmp_path: Path) -> None:
    file, again = tmp_path / "chat.json", conversation()
    SavedChats().save(str(file), conversation("", Turn("user", "a"), answered("Done.")))
    saved = json.loads(file.read_text())
    for ids in ([1, 2, 3], [-1], [10**9], [*saved["turns"][1]["ids"], 10**9], []):
        saved["turns"][1]["ids"] = ids
        file.write_text(json.dumps(saved))
        SavedChats().load(str(file), again)
        assert again.said == [Turn("user", "a"), Turn("assistant", "Done.")]


def test_provisional_turns_are_not_saved(tmp_path: Path) -> None:
    kept = conversation()
    drafted = ProvisionalTurn("b", "Maybe.", (), Sampling(), 9, ())
    kept.resume("", [Turn("user", "a"), answered("Done."), *drafted.turns], [drafted])
    said = SavedChats().save(str(tmp_path / "x"), kept)
    assert said.startswith("1 request saved")
    assert "1 that no hub has verified" in said
    assert len(json.loads((tmp_path / "x").read_text())["turns"]) == 2


def shown(pieces: list[tuple[str, str]], reader: CallReader = READER) -> None:
    """Show an answer in pieces, each with what is provisional behind it."""
    answer = Answer()
    view = ShownAnswer(Screen(), reader, answer)
    for piece, provisional in pieces:
        answer.text, answer.provisional = answer.text + piece, provisional
        view.take(piece)
    view.finish()


def test_calls_and_rubbish_look_different_from_text(capsys: pytest.CaptureFixture[str]) -> None:
    shown([(f'  {TURN_ON}\nOn.\x1b[2J\n{{"name":"Ha', ""), ('ss\n"}\nSure: {"na', "")])
    out = capsys.readouterr().out
    assert out.startswith('→ HassTurnOn area="kitchen"\nOn.[2J\n✗ {"name":"Hass\n  refused: this is not JSON')
    assert '\n✗ "}\n  refused: ' in out
    assert '\nSure: \n✗ {"na\n  refused: ' in out
    assert out.endswith("nothing was carried out: sled-node run has Home Assistant or a program do it\n")


def test_without_calls_nothing_is_said_about_them(capsys: pytest.CaptureFixture[str]) -> None:
    shown([("On.", "")])
    assert capsys.readouterr().out == "On.\n"
    shown([(f"{TURN_ON}\nOn.", "")], CallReader(replace(HOME, tools=None)))
    assert capsys.readouterr().out == f"{TURN_ON}\nOn.\n"


parts = st.lists(st.sampled_from([TURN_ON, '{"na', '"}', "\n", "On. ", " ", "a\tb", "\x07", "é"]), max_size=12).map(
    "".join
)


@given(parts, st.lists(st.integers(1, 9), max_size=30))
def test_what_is_shown_does_not_depend_on_the_pieces(text: str, sizes: list[int]) -> None:
    assert _written(_cut(text, sizes)) == _written([(text, "")])


@given(st.text("ab \n", max_size=60), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=30))
def test_text_that_was_provisional_is_shown_once(text: str, steps: list[tuple[int, int]]) -> None:
    at, pieces = 0, []
    for size, ahead in steps:
        piece = text[at : at + size]
        at += len(piece)
        pieces.append((piece, text[at : at + ahead]))
    pieces.append((text[at:], ""))
    written = _written(pieces)
    assert written.rstrip("\n") == text.rstrip("\n")


def _cut(text: str, sizes: list[int]) -> list[tuple[str, str]]:
    at, pieces = 0, []
    for size in sizes:
        pieces.append((text[at : at + size], ""))
        at += size
    return [*pieces, (text[at:], "")]


def _written(pieces: list[tuple[str, str]]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        shown(pieces)
    return out.getvalue()


def test_a_call_of_which_half_was_provisional_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    half = TURN_ON[:20]
    shown([(half, TURN_ON[20:] + "\nOn"), (TURN_ON[20:], "\nOn"), ("\nOn.", "")])
    out = capsys.readouterr().out
    assert out.startswith(f"{TURN_ON}\nOn.\n")
    assert out.count("HassTurnOn") == 1


def test_amended_text_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer()
    view = ShownAnswer(Screen(), READER, answer)
    answer.settled = [SettledTurn("a", "x", "x"), SettledTurn("b", "x", "y")]
    answer.provisional = "It is on."
    view.take("")
    answer.provisional = ""
    view.take("It was off.")
    view.finish()
    assert capsys.readouterr().out == "“a” was confirmed\n“b” was amended: y\nIt is on.\n[amended] It was off.\n"


def test_traced_tokens_are_shown_once_and_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer()
    text = f"{TURN_ON}\nGrüße ✓.\n"
    ids = answered(text).ids or ()
    view = ShownAnswer(Screen(), READER, answer, traces=True)
    before = 0
    for count in range(1, len(ids) + 1):
        answer.runs.add(TOKENIZER.decode, ids[:count], (SOURCES[count % 2],))
        answer.text = TOKENIZER.decode(ids[:count]).rstrip("\ufffd")
        view.take(answer.text[before:])
        before = len(answer.text)
    view.finish()
    assert capsys.readouterr().out.startswith(f"{text}nothing was carried out")
    assert sum(length for _, length in answer.runs.between(0, len(text))) == len(text)


@pytest.mark.parametrize(
    ("text", "safe"),
    [("a\tb\nc", "a\tb\nc"), ("\x1b[2J\x9b", "\\x1b[2J\\x9b"), ("\u202eabc", "\\u202eabc"), ("👩‍🚀 é", "👩‍🚀 é")],
)
def test_nothing_that_is_shown_moves_the_cursor(text: str, safe: str) -> None:
    assert harmless(text) == safe


def test_figures_are_those_that_exist() -> None:
    asked = Asked("a", (), error="the hub hangs")
    assert described(asked) == "ended in an error: the hub hangs"
    asked = Asked("a", (), is_stopped=True)
    asked.answer.stats.rounds, asked.answer.sampling = 1, Sampling(seed=7)
    assert described(asked) == "stopped · seed 7"
    asked = Asked("a", ())
    asked.answer.stats.tokens, asked.answer.stats.rounds, asked.answer.stats.elapsed_s = 10, 2, 0.5
    figures = "speculate · 10 tokens · 2 rounds · 50.0 ms/token · first token 0 ms · seed 0"
    assert described(asked) == f"{figures} · here 0.00 s of drafting and energy unknown"
    asked.answer.stats.cost = Cost(0.25, 1.5, Known.MEASURED, 0.125, 3.0, Known.STATED)
    cost = "here 0.25 s of drafting and 1.50 J measured · hub 0.12 s of forwards and 3.00 J stated"
    assert described(asked) == f"{figures} · {cost}"


@pytest.mark.parametrize(
    ("ending", "ids", "says"),
    [
        (Ending.END, 9, ""),
        (Ending.LENGTH, 9, "cut after 9 tokens; --max-tokens says how many"),
        (Ending.LENGTH, 8, "cut: the context is full"),
        (Ending.STOP, 3, "ended by a stop string"),
    ],
)
def test_an_answer_that_was_cut_says_why(ending: Ending, ids: int, says: str) -> None:
    asked = Asked("a", (), answer=Answer(ending=ending, ids=(5,) * ids))
    assert ending_in_words(asked, 9).startswith(says)
    assert bool(says) == bool(ending_in_words(asked, 9))
