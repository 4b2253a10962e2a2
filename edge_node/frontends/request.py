"""What a user types: an argument, standard input, a line of a chat; refused in a sentence where it is no text to ask. And how waiting is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from edge_node.dialogue.generation import Generation
from shared.errors import RequestError
from shared.grammar import Grammar
from shared.limits import MAX_GRAMMAR
from shared.program import sentence
from shared.sampling_parameters import Sampling
from shared.streams import note, put
from shared.text_file import read_text

LONGEST = 2**20  # bytes, or characters, of a request
_FROM_INPUT = "-"
PROVISIONAL = "[provisional] "  # in front of text that no hub has verified


def tell_wait(what: str) -> None:
    """Say on standard error what an answer waits for; "" when it goes on."""
    note(f"sled-node: waiting: {sentence(what)}" if what else "sled-node: going on")


def request_text(argument: str) -> str:
    """What is to be asked: `argument`, or standard input where that is "-". Raises RequestError."""
    if argument == _FROM_INPUT:
        content = sys.stdin.buffer.read(LONGEST + 1)
        argument = content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
        if len(content) > LONGEST:
            raise RequestError(f"standard input is longer than {LONGEST} bytes; ask for less at once")
    text = checked(argument, "request").strip()
    if not text:
        raise RequestError("the request is empty; say what to ask")
    return text


def checked(text: str, what: str) -> str:
    """`text`, if it is that. `what` is what the sentence calls it. Raises RequestError."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RequestError(f"the {what} is not UTF-8 text; convert it, for example with iconv -t UTF-8") from None
    if "\0" in text:
        raise RequestError(f"the {what} holds a NUL character, so it is no text")
    return text


def check_options(system: str | None, generation: Generation) -> None:
    """Raise RequestError for a system message or a stop string that is no text or empty, SettingsError for other parameters."""
    checked(system or "", "system message")
    for stop in generation.stop:
        if not checked(stop, "stop string"):
            raise RequestError("a stop string is empty, and would end every answer at once; leave --stop out")
    generation.sampling(Sampling())


def grammar_in(path: Path) -> Grammar:
    """JSON that fits the schema in a file. Raises RequestError for a file without one."""
    try:
        schema = json.loads(read_text(path, "the schema", RequestError, most=MAX_GRAMMAR))
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{path} is not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise RequestError(f"{path} is no JSON schema: that is an object")
    grammar = Grammar.of_schema(schema)
    grammar.read()
    return grammar


def typed_line(prompt: str) -> str | None:
    """The next line of standard input without its end, None behind the last. Raises RequestError for one that is no text or too long; the next can be read."""
    if sys.stdin.isatty():
        try:
            return checked(input(prompt), "request")  # with the terminal's own editing
        except EOFError:
            return None
    put(prompt)
    line = sys.stdin.readline(LONGEST)
    if len(line) == LONGEST:
        while (rest := sys.stdin.readline(LONGEST)) and not rest.endswith("\n"):
            pass
        raise RequestError(f"a line is longer than {LONGEST} characters; ask for less at once")
    return checked(line, "request").removesuffix("\n") if line else None
