"""The command `sled-node`."""

from __future__ import annotations

import logging
from pathlib import Path

from shared.loading import begin_loading, loaded

if __name__ == "__main__":
    begin_loading()

from typing import TYPE_CHECKING, Annotated, Optional

import typer

from edge_node.settings import NodeSettings
from shared.install import needing
from shared.options import takes_settings
from shared.program import Program
from shared.service_commands import add_service_commands
from shared.streams import put_line

if TYPE_CHECKING:
    from shared.service_unit import Kind

app = Program("sled-node", help="SLED's node: drafts on this device, a hub on the MQTT broker verifies.").with_version()

System = Annotated[Optional[str], typer.Option(help="System message of the chat. [default: none]")]
Seed = Annotated[Optional[int], typer.Option(min=0, max=2**64 - 1, help="Repeats an answer. [default: random]")]
Temperature = Annotated[
    Optional[float], typer.Option(min=0, max=100, help="0: always the likeliest token. [default: the pair's]")
]
TopK = Annotated[
    Optional[int], typer.Option(min=0, help="Choose among that many tokens; 0: all. [default: the pair's]")
]
TopP = Annotated[
    Optional[float],
    typer.Option(min=0, max=1, help="Choose among the likeliest with that share; 1: all. [default: the pair's]"),
]
Stop = Annotated[
    Optional[list[str]], typer.Option(help="Text that ends an answer; may be given more than once. [default: none]")
]
_HTTP_PORT = 8011
_WITH_SETTINGS = takes_settings(NodeSettings, "node", logging.ERROR)


@app.command()
@_WITH_SETTINGS
def chat(
    settings: NodeSettings,
    *,
    system: System = None,
    seed: Seed = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    stop: Stop = None,
) -> None:
    """Chat in the terminal. Every answer is exactly the text of the hub's target. /help lists what can be typed."""
    from edge_node.dialogue.generation import Generation
    from edge_node.frontends.chat.talk import chat as run_chat

    loaded()
    run_chat(settings, Generation(temperature, top_k, top_p, seed, settings.max_tokens, tuple(stop or ())), system)


@app.command()
@_WITH_SETTINGS
def ask(
    settings: NodeSettings,
    request: Annotated[list[str], typer.Argument(help="What to ask; - reads it from standard input.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object: text, calls and figures.")] = False,
    system: System = None,
    seed: Seed = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    stop: Stop = None,
    schema: Annotated[
        Optional[Path], typer.Option(help="File with a JSON schema, by which the answer is JSON. [default: none]")
    ] = None,
) -> None:
    """Answer one request, for scripts. Where `sled-node run` serves with the same settings, it is asked, which takes a fraction of the time."""
    from edge_node.dialogue.generation import Generation
    from edge_node.frontends.request import check_options, grammar_in, request_text
    from edge_node.frontends.through_service import ask_service

    loaded()
    grammar = None if schema is None else grammar_in(schema)
    generation = Generation(temperature, top_k, top_p, seed, settings.max_tokens, tuple(stop or ()), grammar)
    check_options(system, generation)
    text = request_text(" ".join(request))
    if not ask_service(settings, generation, system, text, as_json=as_json):
        from edge_node.frontends.ask import ask as run_ask  # seconds of imports and loading, on a small device

        run_ask(settings, generation, system, text, as_json=as_json)


@app.command()
@takes_settings(NodeSettings, "node", logging.WARNING)
def run(settings: NodeSettings) -> None:
    """Answer requests that come over MQTT. It ends at SIGTERM or Ctrl-C."""
    from edge_node.frontends.run import run as run_service

    run_service(settings)


@app.command("serve-http")
@takes_settings(NodeSettings, "node", logging.WARNING)
def serve_http(settings: NodeSettings) -> None:
    """Answer programs that speak OpenAI's or Ollama's API. It is `run` with a port for them, 8011 where the settings name none."""
    from dataclasses import replace

    from edge_node.frontends.run import run as run_service

    run_service(replace(settings, http=replace(settings.http, port=settings.http.port or _HTTP_PORT)))


@app.command()
@_WITH_SETTINGS
def doctor(
    settings: NodeSettings,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Look for what slows this device down. It times broker, draft model and hub, and says what the gate would choose and why."""
    from edge_node.doctor import report

    loaded()
    if not report(settings, as_json=as_json):
        raise typer.Exit(1)


@app.command()
@_WITH_SETTINGS
def profile(
    settings: NodeSettings,
    *,
    out: Annotated[
        Optional[Path], typer.Option(help="File to write it to, for sled-hub pair plan. [default: none]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    link: Annotated[
        Optional[float], typer.Option(help="MB/s that come from the broker. [default: measured, if it answers]")
    ] = None,
) -> None:
    """Measure what this device can do for a draft. Free memory and disk, memory bandwidth, link, and how fast it multiplies by few bits."""
    from edge_node.frontends.profile import show_profile

    loaded()
    show_profile(settings, out=out, link=link, as_json=as_json)


@app.command()
@_WITH_SETTINGS
def hubs(
    settings: NodeSettings,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the hubs on the broker. Each with what it serves, and how many sessions it has."""
    from edge_node.frontends.hubs import show_hubs

    loaded()
    show_hubs(settings, as_json=as_json)


@app.command()
@_WITH_SETTINGS
def pull(
    settings: NodeSettings,
    *,
    hub: Annotated[str, typer.Option(help="The hub to fetch from. [default: any that offers it]")] = "",
) -> None:
    """Fetch a pair from a hub. What is missing of it comes over the broker, with the draft that suits this device."""
    from edge_node.frontends.pull import pull as run_pull

    loaded()
    run_pull(settings, hub)


home = typer.Typer(help="Home Assistant.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(home, name="ha")


@home.command()
@_WITH_SETTINGS
def sync(
    settings: NodeSettings,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="go on, and print it again when it changes")] = False,
) -> None:
    """Read from Home Assistant what this node may know and switch: floors, areas, exposed entities and their aliases."""
    from edge_node.frontends.home import sync as sync_home

    loaded()
    sync_home(settings, as_json=as_json, follow=follow)


@home.command()
@_WITH_SETTINGS
def remove(settings: NodeSettings) -> None:
    """Have Home Assistant forget this node's device, which MQTT discovery has made."""
    from shared.discovery import forget

    loaded()
    forget(settings.broker, settings.name)


@app.command()
def pairs(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the pairs that --pair can name. The built-in ones, those that were pulled, and folders of pairs in the working directory."""
    from edge_node.frontends.pairs import show_pairs

    loaded()
    show_pairs(as_json=as_json)


@app.command()
def join(
    bundle: Annotated[Path, typer.Argument(help="File made by `sled-hub enroll`.")],
    config: Annotated[Optional[Path], typer.Option(help="Settings file. [default: ~/.config/sled/node.toml]")] = None,
) -> None:
    """Take a node's bundle. Its credential is tried at the broker, and kept beside the settings."""
    with needing("node"):
        from edge_node.broker_check import check_broker
        from shared.joining import join as join_broker

        loaded()
        join_broker(bundle, "node", config, check_broker, put_line)


def _service() -> Kind:
    from edge_node.unit import NODE_SERVICE

    return NODE_SERVICE


add_service_commands(app, _service)


if __name__ == "__main__":
    app()
