"""The chat in a terminal."""

from __future__ import annotations

from contextlib import ExitStack

from rich.console import Console
from rich.text import Text

from edge_node.assembly import connected
from edge_node.dialogue.conversation import Answer, Conversation
from edge_node.dialogue.generation import Generation
from edge_node.frontends.request import check_options, typed_line
from edge_node.settings import NodeSettings
from shared.errors import OutputLost, RequestError, SledError
from shared.program import sentence
from shared.streams import put

_HELP = "/stats figures of the last answer · /new forget the chat · /quit leave · Ctrl-C stops an answer"


def chat(settings: NodeSettings, generation: Generation, system: str | None) -> None:
    """Chat until the user leaves. Raises SledError when the chat can't begin."""
    check_options(system, generation)
    console = Console(highlight=False, markup=False)
    where = f"{settings.broker.host}:{settings.broker.port}"
    console.print(
        Text.assemble(("sled", "bold"), f" chat · pair {settings.pair} · {settings.mode.value} · broker {where}")
    )
    with ExitStack() as stack:
        with console.status(Text(f"connecting to the broker at {where}")) as status:
            conversation = stack.enter_context(
                connected(settings, system, lambda what: status.update(Text(what or "going on")))
            )
            status.update(Text(f"waiting for a hub that serves {settings.pair!r}"))
            channel = conversation.begin()
        conversation.loop.on_wait = lambda what: console.print(f"({what or 'going on'})", style="dim")
        if channel is None:
            console.print(
                Text.assemble("no hub is there: this device drafts alone, and what it says is ", ("provisional", "dim"))
            )
        else:
            target = f" · target {channel.opened.target} · context {channel.opened.context}"
            console.print(Text.assemble("hub ", (channel.hub, "bold"), target))
        console.print(_HELP, style="dim")
        _talk(console, conversation, generation)


def _talk(console: Console, conversation: Conversation, generation: Generation) -> None:
    last: Answer | None = None
    while True:
        try:
            request = typed_line("\n> ")
        except RequestError as error:
            console.print(str(error), style="red")
            continue
        except KeyboardInterrupt:
            request = None
        if request is None:
            console.print()
            return
        if request == "/quit":
            return
        if request == "/stats":
            console.print(describe(last) if last is not None else "nothing has been answered yet")
        elif request == "/new":
            conversation.clear()
            console.print("a new chat", style="dim")
        elif request.startswith("/"):
            console.print(_HELP, style="dim")
        elif request:
            last = _answer(console, conversation, request, generation)


def _answer(console: Console, conversation: Conversation, request: str, generation: Generation) -> Answer:
    answer = Answer()
    shown = _ShownAnswer(console, answer)
    try:
        for piece in conversation.ask(request, generation, answer):
            shown.take(piece)
    except KeyboardInterrupt:
        put(" …")
    except OutputLost:
        raise
    except SledError as error:
        console.print(f"\n{sentence(str(error))}", style="red")
    put("\n")
    if answer.provisional:
        console.print("provisional: no hub has verified the dim part; the next answer will tell", style="dim")
    if answer.notice:
        console.print(answer.notice, style="dim")
    return answer


class _ShownAnswer:
    """What stands on the screen of an answer: text, and behind it, dim, what no hub has verified."""

    def __init__(self, console: Console, answer: Answer) -> None:
        self._console, self._answer = console, answer
        self._settled = 0  # earlier turns that were told of
        self._provisional = ""  # on the screen, not verified yet

    def take(self, piece: str) -> None:
        """Show what is new: a piece of committed text, and what has changed behind it."""
        for turn in self._answer.settled[self._settled :]:
            self._settled += 1
            said = f"amended: {turn.now}" if turn.amended else "confirmed"
            self._console.print(f"“{turn.request}” was {said}", style="dim")
        if piece and self._provisional.startswith(piece):
            self._provisional = self._provisional[len(piece) :]  # it stands there already, and is confirmed
        elif piece.startswith(self._provisional):
            put(piece[len(self._provisional) :])
            self._provisional = ""
        elif piece:
            put(f"\n[amended] {piece}")
            self._provisional = ""
        fresh = self._answer.provisional
        if fresh.startswith(self._provisional):
            self._console.print(fresh[len(self._provisional) :], end="", style="dim")
            self._provisional = fresh


def describe(answer: Answer) -> str:
    """The figures of an answer in a line."""
    stats = answer.stats
    share = f"{stats.accepted}/{stats.drafted} drafted accepted · " if stats.drafted else ""
    return (
        f"{stats.mode} · {stats.tokens} tokens · {stats.rounds} rounds · {share}{stats.ms_per_token:.1f} ms/token · "
        f"first token {1e3 * stats.first_token_s:.0f} ms · round trip {stats.rtt_ms:.1f} ms · seed {answer.sampling.seed}"
    )
