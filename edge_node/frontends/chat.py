"""The chat in a terminal."""

from __future__ import annotations

from contextlib import ExitStack

from rich.console import Console
from rich.text import Text

from edge_node.assembly import connected
from edge_node.dialogue.conversation import Answer, Conversation, Generation
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
            conversation = stack.enter_context(connected(settings, system))
            status.update(Text(f"waiting for a hub that serves {settings.pair!r}"))
            channel = conversation.begin()
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
    try:
        for piece in conversation.ask(request, generation, answer):
            put(piece)
    except KeyboardInterrupt:
        put(" …")
    except OutputLost:
        raise
    except SledError as error:
        console.print(f"\n{sentence(str(error))}", style="red")
    put("\n")
    if answer.notice:
        console.print(answer.notice, style="dim")
    return answer


def describe(answer: Answer) -> str:
    """The figures of an answer in a line."""
    stats = answer.stats
    share = f"{stats.accepted}/{stats.drafted} drafted accepted · " if stats.drafted else ""
    return (
        f"{stats.mode} · {stats.tokens} tokens · {stats.rounds} rounds · {share}{stats.ms_per_token:.1f} ms/token · "
        f"first token {1e3 * stats.first_token_s:.0f} ms · round trip {stats.rtt_ms:.1f} ms · seed {answer.sampling.seed}"
    )
