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
            conversation = stack.enter_context(connected(settings, system))
            status.update(f"waiting for a hub that serves {settings.pair!r}")
            channel = conversation.begin()
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
    try:
        for piece in conversation.ask(request, generation, answer):
            sys.stdout.write(piece)
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stdout.write(" …")
    except SledError as error:
        console.print(f"\n[red]{error}[/red]")
    sys.stdout.write("\n")
    if answer.notice:
        console.print(f"[dim]{answer.notice}[/dim]")
    return answer


def describe(answer: Answer) -> str:
    """The figures of an answer in a line."""
    stats = answer.stats
    share = f"{stats.accepted}/{stats.drafted} drafted accepted · " if stats.drafted else ""
    return (
        f"{stats.mode} · {stats.tokens} tokens · {stats.rounds} rounds · {share}{stats.ms_per_token:.1f} ms/token · "
        f"first token {1e3 * stats.first_token_s:.0f} ms · round trip {stats.rtt_ms:.1f} ms · seed {answer.sampling.seed}"
    )
