"""The chat as a person meets it: a real hub, and a pseudo terminal."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.terminal import NOTHING, Terminal
from tools.demo import node_command
from tools.rig.testbed import HUB, HubBed

pytestmark = pytest.mark.slow  # each is a process that asks a hub

REQUEST = "turn on the kitchen lights and set the bedroom to 20 degrees"
CALLS = '→ HassTurnOn area="kitchen" domain="light"\n→ HassClimateSetTemperature area="bedroom" temperature=20\n'
SAID = "Turned on the lights in the kitchen and set the temperature in the bedroom to 20 degrees.\n"
NOT_DONE = "nothing was carried out"
# With this seed the answer is 700 tokens long at least.
ENDLESS = ("--temperature", "100", "--seed", "2", "--mode", "stream", "--max-tokens", "900")
DUMB = {"TERM": "dumb", "COLUMNS": "200"}


def test_the_documents_show_what_is_printed(bed: HubBed) -> None:
    printed = piped(bed, f"{REQUEST}\n").split("> ")[1]
    sample = "".join(f"    {line}\n" for line in printed.split("\n") if line)
    for page in ("README.md", "docs/chat.md"):
        text = (Path(__file__).parents[2] / page).read_text()
        assert f"    > {REQUEST}\n{sample}\n" in text
        assert "    /help lists commands · Ctrl-C stops an answer · Ctrl-D leaves\n" in text


def leave(terminal: Terminal) -> None:
    terminal.type("/bye\r")
    assert terminal.end() == 0


@pytest.mark.parametrize("columns", [40, 80])
def test_a_chat_over_several_turns(bed: HubBed, columns: int) -> None:
    terminal = Terminal(bed, "jetson", "--seed", "11", columns=columns)
    terminal.wait_for("127.0.0.1")
    terminal.wait_for(f"hub {HUB}")
    terminal.ready()
    assert "nothing has been answered yet" in terminal.say("/stats")
    said = terminal.say(REQUEST)
    assert CALLS + SAID in said, "the terminal breaks the lines of an answer, and nobody else"
    assert said.count("Turned on") == 1
    assert NOT_DONE in said
    assert '"kitchen"' in terminal.say("turn the kitchen lights off again")
    stats = terminal.say("/stats").replace("\n", " ")
    assert "rounds" in stats
    assert "seed 11" in stats
    own = [line for line in terminal.say("/help").split("\n") if line]
    assert max(map(len, own)) <= columns
    assert b"\x1b[2m" in terminal.raw, "what is no answer is dim"
    leave(terminal)


def test_a_plain_terminal_is_read_without_an_editor(bed: HubBed) -> None:
    terminal = Terminal(bed, "jetson", env=DUMB)
    terminal.ready()
    terminal.type(f"{REQUEST}\n")
    terminal.wait_for(CALLS + SAID)
    terminal.ready()
    assert b"\x1b" not in terminal.raw
    terminal.interrupt()
    terminal.wait_for("Ctrl-C once more leaves")
    terminal.ready()
    terminal.interrupt()
    assert terminal.end() == 0


def test_ctrl_c_stops_an_answer_clears_a_line_and_leaves_when_typed_twice(bed: HubBed) -> None:
    terminal = Terminal(bed, "jetson", *ENDLESS)
    terminal.ready()
    before = bed.hub_stats()["committed"]
    terminal.type("tell me everything\r")
    terminal.wait_for("everything\n")
    terminal.wait_until(lambda shown: len(shown) > 80)
    terminal.type("\x03")
    terminal.wait_for(" …\nstopped")
    terminal.ready()
    assert bed.hub_stats()["committed"] - before < 600, "700 would have come"
    terminal.type("/stats")
    terminal.wait_until(lambda shown: "/stats" in shown)
    terminal.type("\x03")
    terminal.wait_until(lambda shown: "/stats" not in shown)
    assert "stopped · stream" in terminal.say("/stats")
    terminal.type("rubbish\x03\x03")
    terminal.wait_for("Ctrl-C once more leaves")
    terminal.ready()
    assert "seed 2" in terminal.say("/seed"), "what was typed between counts anew"
    terminal.type("\x03")
    terminal.wait_for("Ctrl-C once more leaves")
    terminal.ready()
    terminal.type("\x03")
    assert terminal.end() == 0


def test_a_signal_counts_as_ctrl_c_and_ctrl_d_leaves(bed: HubBed) -> None:
    terminal = Terminal(bed, "jetson")
    terminal.ready()
    terminal.interrupt()
    terminal.wait_for("Ctrl-C once more leaves")
    terminal.ready()
    terminal.type("\x04")
    assert terminal.end() == 0


def test_what_is_pasted_or_stands_between_quotes_is_one_request(bed: HubBed, tmp_path: Path) -> None:
    terminal = Terminal(bed, "jetson")
    terminal.ready()
    terminal.type("\x1b[200~turn on the hall light\r\nand the den light\x1b[201~")
    terminal.wait_for("den light")
    terminal.type("\r")
    assert '→ HassTurnOn area="hall"' in terminal.ready()
    terminal.type('"""turn on the hall light\r')
    terminal.wait_for("hall light")
    terminal.type('/quit"""\r')
    terminal.ready()
    file = tmp_path / "chat.json"
    assert "2 requests saved" in terminal.say(f"/save {file}").replace("\n", " ")
    leave(terminal)
    requests = [turn["content"] for turn in json.loads(file.read_text())["turns"][::2]]
    assert requests == ["turn on the hall light\nand the den light", "turn on the hall light\n/quit"]


def piped(bed: HubBed, lines: str, *options: str, env: Mapping[str, str] = NOTHING) -> str:
    command = node_command(bed.broker.settings("pi"), "pi", "chat", *options)
    environment = {**os.environ, **env}
    done = subprocess.run(
        command, input=lines, capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    return done.stdout


def test_lines_that_are_piped(bed: HubBed, tmp_path: Path) -> None:
    file = tmp_path / "chat.json"
    said = piped(
        bed,
        f'"""turn on\nthe hall light\n"""\n//stats\n/trace\n/statz\n/save {file}\n"""the end is missing\n',
        env={"FORCE_COLOR": "1"},
    )
    assert '→ HassTurnOn area="hall" domain="light"\n' in said
    assert "colours need a terminal" in said
    assert "/statz is no command; did you mean /stats?" in said
    requests = [turn["content"] for turn in json.loads(file.read_text())["turns"][::2]]
    assert requests == ["turn on\nthe hall light", "/stats"]


def test_all_lines_between_quotes_are_left_out_where_one_of_them_is_none(bed: HubBed) -> None:
    long = '"""' + f"{'y' * 2**19}\n" * 3 + "/seed 8\n"
    said = piped(bed, f'{long}"""\n"""a\n\0\n/seed 9\nb"""\n/seed 5\n')
    assert "a request is longer than 1048576 characters" in said
    assert "the request holds a NUL character" in said
    assert "seed 5\n" in said
    assert "seed 8" not in said
    assert "seed 9" not in said


def test_history_is_kept_for_its_owner_alone(bed: HubBed, tmp_path: Path) -> None:
    home = {"XDG_CACHE_HOME": str(tmp_path)}
    terminal = Terminal(bed, "jetson", env=home)
    terminal.ready()
    terminal.say("/seed 5")
    terminal.say("/mode")
    leave(terminal)
    file = tmp_path / "sled" / "chat-history"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [json.loads(line) for line in file.read_text().splitlines()] == ["/seed 5", "/mode", "/bye"]
    terminal = Terminal(bed, "jetson", env=home)
    terminal.ready()
    terminal.type("\x1b[A\x1b[A\x1b[A")
    terminal.wait_for("/seed 5")
    terminal.type("\x7f7\r")
    terminal.wait_for("seed 7\n")
    leave(terminal)


def test_a_folder_that_takes_no_history_is_done_without(bed: HubBed, tmp_path: Path) -> None:
    (tmp_path / "sled").write_text("a file")
    terminal = Terminal(bed, "jetson", env={"XDG_CACHE_HOME": str(tmp_path)})
    terminal.ready()
    assert "seed 5" in terminal.say("/seed 5")
    terminal.type("\x1b[A")
    terminal.wait_for("/seed 5")
    terminal.type("\x03")
    leave(terminal)


def test_tab_completes_commands(bed: HubBed) -> None:
    terminal = Terminal(bed, "jetson")
    terminal.ready()
    terminal.type("/mo\t")
    terminal.wait_for("/mode")
    terminal.type(" sp\t\r")
    terminal.wait_for("mode speculate\n")
    leave(terminal)


def test_commands_that_change_how_answers_come_about(bed: HubBed) -> None:
    terminal = Terminal(bed, "jetson", "--mode", "speculate")
    terminal.ready()
    terminal.say(REQUEST)
    assert "speculate · " in terminal.say("/stats")
    assert "mode stream" in terminal.say("/mode stream")
    terminal.say("turn off all the fans")
    assert "stream · " in terminal.say("/stats")
    assert "must be one of speculate, stream, auto, not 'fast'" in terminal.say("/mode fast")
    assert "seed random" in terminal.say("/seed")
    assert "a whole number from 0" in terminal.say("/seed -1")
    assert "seed 7" in terminal.say("/seed 7")
    assert "there is no system message" in terminal.say("/system")
    assert "a new chat under that" in terminal.say("/system Areas: hall")
    assert "Areas: hall" in terminal.say("/system")
    assert "no request to ask again" in terminal.say("/retry")
    assert "without a system message" in terminal.say("/system -")
    assert "/new takes nothing" in terminal.say("/new one")
    leave(terminal)


def test_a_chat_without_a_draft_model_stays_with_streaming(bed: HubBed) -> None:
    said = piped(bed, "/mode auto\n/mode\n", "--mode", "stream")
    assert "no draft model is loaded" in said
    assert "mode stream" in said


def test_retry_asks_the_last_request_in_place_of_its_answer(bed: HubBed, tmp_path: Path) -> None:
    file = tmp_path / "chat.json"
    options = ("--temperature", "1.5")
    said = piped(bed, f"hello\n{REQUEST}\n/stats\n/retry\n/stats\n/save {file}\n", *options)
    seeds = [line.split("seed ")[1] for line in said.split("\n") if "ms/token" in line]
    assert len(set(seeds)) == 2
    turns = json.loads(file.read_text())["turns"]
    assert [turn["content"] for turn in turns[::2]] == ["hello", REQUEST]
    assert "so the answer will be the same" in piped(bed, f"{REQUEST}\n/retry\n")
    assert "so the answer will be the same" in piped(bed, f"/seed 3\n{REQUEST}\n/retry\n", *options)


def test_a_chat_is_saved_and_goes_on_from_the_file(bed: HubBed, tmp_path: Path) -> None:
    file = tmp_path / "chat.json"
    before = piped(bed, f"{REQUEST}\n/save {file}\n/save {file}\nturn off the kitchen lights\n")
    assert before.count("1 request saved") == 2, "its own file is replaced"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    after = piped(bed, f"/save {file}\n/load {file}\nturn off the kitchen lights\n/save {file}\n/retry\n/retry\n")
    assert "exists, and is not from this chat" in after
    assert "1 request loaded" in after
    assert "2 requests saved" in after
    assert before.split("> ")[-2] == after.split("> ")[3], "the same answer, as it is the same chat"
    assert after.count("HassTurnOff") == 3


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[", "is not JSON"),
        ("{}", 'is no saved chat: it has no "sled_chat": 1'),
        ('{"sled_chat":1,"turns":[{"role":"user","content":"x"}]}', "its last request has no answer"),
        ('{"sled_chat":1,"turns":[{"role":"assistant","content":"x"},{}]}', 'turn 1 must have "role": "user"'),
        ('{"sled_chat":1,"system":3,"turns":[]}', 'must be a text and "turns" a list'),
        ('{"sled_chat":1,"turns":[{"role":"user","content":"\\ud800"},{}]}', "is not UTF-8"),
        ('{"sled_chat":1,"turns":[{"role":"user","content":"x"},{"role":"assistant","content":"y","ids":[1.5]}]}', "whole numbers"),
        (b"\xff", "is not UTF-8 text"),
        (None, "No such file or directory"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_chat_leaves_the_chat_as_it_was(
    bed: HubBed, tmp_path: Path, content: str | bytes | None, says: str
) -> None:
    file, kept = tmp_path / "bad.json", tmp_path / "kept.json"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    said = piped(bed, f"{REQUEST}\n/load {file}\n/load\n/save {tmp_path}/none/x\n/save {kept}\n")
    assert says in said
    assert "name a file" in said
    assert "cannot write" in said
    assert "1 request saved" in said


def test_an_answer_that_is_cut_says_so_and_shows_no_half_call_as_text(bed: HubBed) -> None:
    said = piped(bed, f"{REQUEST}\n", "--max-tokens", "30")
    assert '→ HassTurnOn area="kitchen" domain="light"\n✗ {"name":"HassClimateSetTemperature"' in said
    assert "  refused: this is not JSON" in said
    assert "cut after 30 tokens; --max-tokens says how many an answer may have" in said
    assert "ended by a stop string" in piped(bed, f"{REQUEST}\n", "--stop", "the")


def test_colours_tell_where_each_token_is_from(bed: HubBed) -> None:
    terminal = Terminal(bed, "jetson", "--mode", "speculate")
    terminal.ready()
    terminal.say(REQUEST)
    assert b'\x1b[36m\xe2\x86\x92 HassTurnOn area="kitchen"' in terminal.raw, "a call has a colour of its own"
    assert "drafted, and right · drafted, and corrected · not drafted" in terminal.say("/trace").replace("\n", " ")
    at = len(terminal.raw)
    said = terminal.say("turn off all the fans")
    assert said.count('{"name":"HassTurnOff"') == 1, "as it was written, and once"
    assert b"\x1b[32m" in terminal.raw[at:]
    assert b"\x1b[3;36m" in terminal.raw[at:]
    assert "no trace" in terminal.say("/trace")
    leave(terminal)


def test_no_colour_where_none_is_wanted(bed: HubBed) -> None:
    terminal = Terminal(bed, "jetson", "--mode", "speculate", env={"NO_COLOR": "1"})
    terminal.ready()
    terminal.say("/trace")
    terminal.say(REQUEST)
    terminal.say("/statz")
    leave(terminal)
    assert not any(f"\x1b[{code}m".encode() in terminal.raw for code in (31, 32, 36, "3;36", "1;4;31"))


def test_what_is_waited_for_moves_until_there_is_text_and_an_error_has_no_figures(bed: HubBed) -> None:
    terminal = Terminal(bed, "jetson", "--hub-timeout", "3", "--on-hub-loss", "stop", columns=40)
    terminal.ready()
    os.kill(bed.hub_pid, signal.SIGSTOP)
    try:
        terminal.type(f"{REQUEST}\r")
        terminal.wait_until(lambda shown: "waiting for the first token" in shown)
        terminal.wait_until(lambda shown: "waiting: " in shown)
        terminal.ready()
    finally:
        os.kill(bed.hub_pid, signal.SIGCONT)
    stats = terminal.say("/stats").replace("\n", " ")
    assert f"ended in an error: hub '{HUB}' says nothing" in stats
    assert not any(figure in stats for figure in ("0 tokens", "0.0 ms", "first token", "rounds"))
    assert CALLS in terminal.say("/retry")
    leave(terminal)


def test_a_hub_that_hangs_in_the_middle_of_an_answer_is_told_in_a_line(bed: HubBed) -> None:
    terminal = Terminal(bed, "jetson", *ENDLESS, "--hub-timeout", "60")
    terminal.ready()
    terminal.type("tell me everything\r")
    terminal.wait_for("everything\n")
    terminal.wait_until(lambda shown: len(shown) > 80 and "waiting" not in shown)
    os.kill(bed.hub_pid, signal.SIGSTOP)
    try:
        terminal.wait_for("\n(waiting: ")
    finally:
        os.kill(bed.hub_pid, signal.SIGCONT)
    terminal.wait_for("\n(going on)\n")
    terminal.wait_until(lambda shown: len(shown) > 80)
    terminal.type("\x03")
    terminal.ready()
    leave(terminal)


def test_another_width_in_the_middle_of_a_line(bed: HubBed) -> None:
    terminal = Terminal(bed, "jetson")
    terminal.ready()
    terminal.type("turn on the kitchen lights and set the ")
    terminal.wait_for("set the")
    terminal.resize(40)
    os.killpg(terminal.process.pid, signal.SIGWINCH)
    terminal.type("bedroom to 20 degrees\r")
    terminal.wait_for(CALLS + SAID)
    terminal.ready()
    leave(terminal)


def test_pairs_that_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "pair.toml").write_text("schema = 9\n")
    command = [sys.executable, "-m", "edge_node.cli", "pairs"]
    table = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    head, home = table.stdout.splitlines()
    assert head.split("  ")[0] == "name"
    assert home.split() == ["home", "home/float32", "default", "1.5", "MiB", "yes"]
    assert "own/pair.toml has schema 9" in table.stderr
    pairs = json.loads(subprocess.run([*command, "--json"], capture_output=True, check=True, cwd=tmp_path).stdout)
    assert pairs["home"]["calls"] is True
    assert pairs["home"]["target"] == "home/float32"
