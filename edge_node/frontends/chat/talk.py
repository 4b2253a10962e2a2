"""The chat's loop: a request or a command is read, and carried out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace

from edge_node.assembly import connected
from edge_node.dialogue.calls import CallReader
from edge_node.dialogue.conversation import Conversation
from edge_node.dialogue.generation import Generation
from edge_node.frontends.chat.commands import Typed, help_text, read
from edge_node.frontends.chat.figures import LEGEND, Asked, described, ending_in_words
from edge_node.frontends.chat.prompt import prompt_here
from edge_node.frontends.chat.saved_chat import SavedChats
from edge_node.frontends.chat.screen import DIM, RED, Screen
from edge_node.frontends.chat.shown_answer import ShownAnswer
from edge_node.frontends.request import check_options, checked
from edge_node.settings import Mode, NodeSettings
from shared.errors import OutputLost, RequestError, SledError
from shared.pair import load_pair
from shared.program import sentence

_HELP = "/help lists commands · Ctrl-C stops an answer · Ctrl-D leaves"
_MOST_SEED = 2**64 - 1
_LEAVING = "Ctrl-C once more leaves, and so does Ctrl-D"


def chat(settings: NodeSettings, generation: Generation, system: str | None) -> None:
    """Chat until the user leaves. Raises SledError when the chat can't begin."""
    check_options(system, generation)
    screen = Screen()
    where = f"{settings.broker.host}:{settings.broker.port}"
    screen.line(("sled", "bold"), f" chat · pair {settings.pair} · {settings.mode.value} · broker {where}")
    reader = CallReader(load_pair(settings.pair))
    with ExitStack() as stack:
        try:
            screen.wait(f"connecting to the broker at {where}")
            conversation = stack.enter_context(connected(settings, system, screen.waits_for))
            screen.wait(f"waiting for a hub that serves {settings.pair!r}")
            channel = conversation.begin()
        finally:
            screen.settle()
        if channel is None:
            screen.line("no hub is there: this device drafts alone, and what it says is ", ("provisional", DIM))
        else:
            target = sentence(channel.opened.target)
            screen.line(
                "hub ", (sentence(channel.hub), "bold"), f" · target {target} · context {channel.opened.context}"
            )
        screen.line(_HELP, style=DIM)
        _Talk(screen, conversation, reader, generation).run()


class _Talk:
    """What a chat knows from one request to the next."""

    def __init__(self, screen: Screen, conversation: Conversation, reader: CallReader, generation: Generation) -> None:
        self._screen, self._conversation, self._reader = screen, conversation, reader
        self._generation = generation
        self._files = SavedChats()
        self._traces = False
        self._last: Asked | None = None  # what /stats is about
        self._again: Asked | None = None  # what /retry asks
        self._commands: dict[str, Callable[[str], None]] = {
            "help": lambda _: self._say(help_text(screen.width)),
            "stats": lambda _: self._say(described(self._last) if self._last else "nothing has been answered yet"),
            "retry": lambda _: self._retry(),
            "new": lambda _: self._renew(self._conversation.system, "a new chat"),
            "system": self._system,
            "mode": self._mode,
            "seed": self._seed,
            "trace": lambda _: self._trace(),
            "save": lambda name: self._say(self._files.save(name, self._conversation)),
            "load": self._load,
        }

    def run(self) -> None:
        """Until the person leaves."""
        prompt, is_warned = prompt_here(), False
        while True:
            try:
                typed = prompt.read()
                self._screen.entered()
                if typed is None or not self._take(typed):
                    return
                is_warned = False
            except OutputLost:
                raise
            except SledError as error:
                self._screen.line(sentence(str(error)), style=RED)
            except KeyboardInterrupt:
                if is_warned:
                    self._screen.line()
                    return
                is_warned = True
                self._screen.line(_LEAVING, style=DIM)

    def _take(self, typed: Typed) -> bool:
        """Carry out what was typed; False where the person leaves. Raises SledError."""
        name, text = read(typed)
        if name == "bye":
            return False
        if name:
            self._commands[name](text)
        elif text:
            self._answer(text)
        return True

    def _say(self, text: str) -> None:
        self._screen.line(text)

    def _answer(self, request: str) -> None:
        conversation, screen = self._conversation, self._screen
        asked = Asked(request, tuple(conversation.said), tuple(conversation.unverified))
        self._last = self._again = asked
        shown = ShownAnswer(screen, self._reader, asked.answer, traces=self._traces and screen.has_styles)
        conversation.loop.on_wait = screen.waits_for
        screen.wait("waiting for the first token")
        try:
            with closing(conversation.ask(request, self._generation, asked.answer)) as pieces:
                for piece in pieces:
                    shown.take(piece)
        except KeyboardInterrupt:
            asked.is_stopped = True
            if not screen.at_start:
                screen.show(" …")
        except OutputLost:
            raise
        except SledError as error:
            asked.error = sentence(str(error))
        finally:
            screen.settle()
        shown.finish()
        if asked.error:
            screen.line(asked.error, style=RED)
        if asked.answer.provisional:
            screen.line("provisional: no hub has verified the dim part; the next answer will tell", style=DIM)
        for said in (ending_in_words(asked, self._generation.max_tokens), asked.answer.notice):
            if said:
                screen.line(said, style=DIM)

    def _retry(self) -> None:
        again = self._again
        if again is None:
            raise RequestError("there is no request to ask again")
        fixed, sampling = self._generation.seed, again.answer.sampling
        if again.answer.stats.rounds and (sampling.temperature == 0 or fixed == sampling.seed):
            why = "the temperature is 0" if sampling.temperature == 0 else f"the seed is {fixed}"
            self._screen.line(f"{why}, so the answer will be the same", style=DIM)
        self._conversation.resume(self._conversation.system, again.turns, again.unverified)
        self._answer(again.request)

    def _renew(self, system: str, said: str) -> None:
        self._conversation.renew(system or None)
        self._again = None
        self._screen.line(said, style=DIM)

    def _system(self, text: str) -> None:
        if text:
            system = "" if text == "-" else checked(text, "system message")
            self._renew(
                system, "a new chat under that system message" if system else "a new chat without a system message"
            )
        else:
            self._say(self._conversation.system or "there is no system message; /system TEXT sets one")

    def _mode(self, name: str) -> None:
        loop = self._conversation.loop
        if name:
            modes = [mode.value for mode in Mode]
            if name not in modes:
                raise RequestError(f"the mode must be one of {', '.join(modes)}, not {name!r}")
            loop.mode = Mode(name)
        self._say(f"mode {loop.mode.value}")

    def _seed(self, text: str) -> None:
        if text == "random":
            self._generation = replace(self._generation, seed=None)
        elif text:
            if not (
                text.isascii() and text.isdecimal() and len(text) <= len(str(_MOST_SEED)) and int(text) <= _MOST_SEED
            ):
                raise RequestError(f"a seed is a whole number from 0 to {_MOST_SEED}, or random, not {text!r}")
            self._generation = replace(self._generation, seed=int(text))
        seed = self._generation.seed
        self._say("seed random: each answer gets its own" if seed is None else f"seed {seed}")

    def _trace(self) -> None:
        if not self._screen.has_styles:
            raise RequestError("colours need a terminal that has them; /stats counts drafted tokens")
        self._traces = not self._traces
        if self._traces:
            self._screen.line(*LEGEND)
        else:
            self._say("no trace")

    def _load(self, name: str) -> None:
        said = self._files.load(name, self._conversation)
        turns = self._conversation.said
        self._again = Asked(turns[-2].content, tuple(turns[:-2])) if turns else None
        self._say(said)
