"""The chat in a terminal."""

from __future__ import annotations

import sys
from contextlib import ExitStack

from rich.console import Console

from edge_node.assembly import connected
from edge_node.dialogue.conversation import Answer, Conversation, Generation
from edge_node.settings import NodeSettings
from shared.errors import SledError

_HELP = "/stats figures of the last answer · /new forget the chat · /quit leave · Ctrl-C stops an answer"


def chat(settings: NodeSettings, generation: Generation, system: str | None) -> None:
    """Chat until the user leaves. Raises SledError when the chat can't begin."""
    console = Console(highlight=False)
    where = f"{settings.broker.host}:{settings.broker.port}"
    console.print(f"[bold]sled[/bold] chat · pair {settings.pair} · {settings.mode.value} · broker {where}")
    with ExitStack() as stack:
        with console.status(f"connecting to the broker at {where}") as status:
            conversation = stack.enter_context(
                connected(settings, system, lambda what: status.update(what or "going on"))
            )
            status.update(f"waiting for a hub that serves {settings.pair!r}")
            channel = conversation.begin()
        conversation.loop.on_wait = lambda what: console.print(f"[dim]({what or 'going on'})[/dim]")
        if channel is None:
            console.print("no hub is there: this device drafts alone, and what it says is [dim]provisional[/dim]")
        else:
            console.print(
                f"hub [bold]{channel.hub}[/bold] · target {channel.opened.target} · context {channel.opened.context}"
            )
        console.print(f"[dim]{_HELP}[/dim]")
        _talk(console, conversation, generation)


def _talk(console: Console, conversation: Conversation, generation: Generation) -> None:
    last: Answer | None = None
    while True:
        try:
            request = input("\n> ").strip()
        except (EOFError, KeyboardInterrupt):
            console.print()
            return
        if request == "/quit":
            return
        if request == "/stats":
            console.print(describe(last) if last is not None else "nothing has been answered yet")
        elif request == "/new":
            conversation.clear()
            console.print("[dim]a new chat[/dim]")
        elif request.startswith("/"):
            console.print(f"[dim]{_HELP}[/dim]")
        elif request:
            last = _answer(console, conversation, request, generation)


def _answer(console: Console, conversation: Conversation, request: str, generation: Generation) -> Answer:
    answer = Answer()
    shown = _ShownAnswer(console, answer)
    try:
        for piece in conversation.ask(request, generation, answer):
            shown.take(piece)
    except KeyboardInterrupt:
        sys.stdout.write(" …")
    except SledError as error:
        console.print(f"\n[red]{error}[/red]")
    sys.stdout.write("\n")
    if answer.provisional:
        console.print("[dim]provisional: no hub has verified the dim part; the next answer will tell[/dim]")
    if answer.notice:
        console.print(f"[dim]{answer.notice}[/dim]")
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
            self._console.print(f"“{turn.request}” was {said}", style="dim", markup=False)
        if piece and self._provisional.startswith(piece):
            self._provisional = self._provisional[len(piece) :]  # it stands there already, and is confirmed
        elif piece.startswith(self._provisional):
            sys.stdout.write(piece[len(self._provisional) :])
            self._provisional = ""
        elif piece:
            sys.stdout.write(f"\n[amended] {piece}")
            self._provisional = ""
        fresh = self._answer.provisional
        if fresh.startswith(self._provisional):
            self._console.print(fresh[len(self._provisional) :], end="", style="dim", markup=False)
            self._provisional = fresh
        sys.stdout.flush()


def describe(answer: Answer) -> str:
    """The figures of an answer in a line."""
    stats = answer.stats
    share = f"{stats.accepted}/{stats.drafted} drafted accepted · " if stats.drafted else ""
    return (
        f"{stats.mode} · {stats.tokens} tokens · {stats.rounds} rounds · {share}{stats.ms_per_token:.1f} ms/token · "
        f"first token {1e3 * stats.first_token_s:.0f} ms · round trip {stats.rtt_ms:.1f} ms · seed {answer.sampling.seed}"
    )
