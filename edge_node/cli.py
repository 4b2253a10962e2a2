"""The command `sled-node`."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from shared.errors import SledError

app = typer.Typer(help="SLED's node: drafts on this device, a hub on the MQTT broker verifies.", no_args_is_help=True)

Config = Annotated[Optional[Path], typer.Option(help="settings file (default ~/.config/sled/node.toml)")]
Name = Annotated[Optional[str], typer.Option(help="the node's name in its topics")]
PairName = Annotated[Optional[str], typer.Option("--pair", help="built-in name or folder of the pair")]
ModeName = Annotated[
    Optional[str], typer.Option("--mode", help="speculate (draft here), stream (the hub decodes) or auto")
]
DrafterName = Annotated[Optional[str], typer.Option("--drafter", help="model, ngram (needs no model) or auto")]
PolicyName = Annotated[Optional[str], typer.Option("--policy", help="fixed, threshold or auto")]
Ahead = Annotated[Optional[bool], typer.Option("--ahead/--no-ahead", help="draft on while a verdict is awaited")]
DraftLength = Annotated[Optional[int], typer.Option(min=1, max=64, help="most tokens of a block")]
Threads = Annotated[Optional[int], typer.Option(min=0, help="ONNX Runtime's threads")]
Wait = Annotated[Optional[float], typer.Option("--wait", min=0, help="seconds to wait for a hub")]
Host = Annotated[Optional[str], typer.Option("--broker-host", help="address of the MQTT broker")]
Port = Annotated[Optional[int], typer.Option("--broker-port", help="port of the MQTT broker")]
Prefix = Annotated[Optional[str], typer.Option("--broker-prefix", help="first levels of every topic")]
PasswordFile = Annotated[
    Optional[Path], typer.Option("--broker-password-file", help="file (mode 0600) with the password")
]
System = Annotated[Optional[str], typer.Option(help="system message of the chat")]
Seed = Annotated[Optional[int], typer.Option(min=0, max=2**64 - 1, help="repeats an answer; random when not given")]
Temperature = Annotated[Optional[float], typer.Option(min=0, max=100, help="0 = the likeliest token")]
TopK = Annotated[Optional[int], typer.Option(min=0, help="0 = off")]
TopP = Annotated[Optional[float], typer.Option(min=0, max=1, help="1 = off")]
MaxTokens = Annotated[Optional[int], typer.Option(min=1, help="most tokens of an answer")]
Stop = Annotated[Optional[list[str]], typer.Option(help="text that ends an answer; may be given more than once")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="log what happens on the broker")]


@app.command()
def chat(
    config: Config = None, name: Name = None, pair: PairName = None, mode: ModeName = None, drafter: DrafterName = None,
    policy: PolicyName = None, draft_length: DraftLength = None, ahead: Ahead = None, threads: Threads = None, wait_s: Wait = None,
    broker_host: Host = None, broker_port: Port = None, broker_prefix: Prefix = None, broker_password_file: PasswordFile = None,
    max_tokens: MaxTokens = None, system: System = None, seed: Seed = None, temperature: Temperature = None,
    top_k: TopK = None, top_p: TopP = None, stop: Stop = None, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Chat in the terminal; what is typed is answered exactly as the hub's target would."""
    _run(_chat, **locals())


@app.command()
def ask(
    request: Annotated[str, typer.Argument(help="what to ask; - reads it from standard input")],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object: text, calls and figures")] = False,
    config: Config = None, name: Name = None, pair: PairName = None, mode: ModeName = None, drafter: DrafterName = None,
    policy: PolicyName = None, draft_length: DraftLength = None, ahead: Ahead = None, threads: Threads = None, wait_s: Wait = None,
    broker_host: Host = None, broker_port: Port = None, broker_prefix: Prefix = None, broker_password_file: PasswordFile = None,
    max_tokens: MaxTokens = None, system: System = None, seed: Seed = None, temperature: Temperature = None,
    top_k: TopK = None, top_p: TopP = None, stop: Stop = None, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Answer one request, for scripts."""
    _run(_ask, **locals())


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object as the last line")] = False,
    config: Config = None, name: Name = None, pair: PairName = None, drafter: DrafterName = None, threads: Threads = None,
    draft_length: DraftLength = None, wait_s: Wait = None, broker_host: Host = None, broker_port: Port = None,
    broker_prefix: Prefix = None, broker_password_file: PasswordFile = None, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Look for what slows this device down: broker, draft model, hub, and what the gate would choose and why."""
    _run(_doctor, **locals())


def _run(command: Any, config: Path | None, verbose: bool, **options: Any) -> None:
    """Settings and generation from the options, then `command(settings, generation, rest)`; errors as a sentence."""
    from edge_node.dialogue.conversation import Generation
    from edge_node.settings import NodeSettings
    from shared.settings import load

    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    rest = {key: options.pop(key) for key in ("request", "as_json", "system") if key in options}
    sampling = {key: options.pop(key, None) for key in ("seed", "temperature", "top_k", "top_p")}
    stop = tuple(options.pop("stop", None) or ())
    try:
        settings = load(NodeSettings, "node", options, config)
        generation = Generation(**sampling, max_tokens=settings.max_tokens, stop=stop)
        command(settings, generation, **rest)
    except SledError as error:
        typer.echo(f"sled-node: {error}", err=True)
        raise typer.Exit(1) from None


def _chat(settings: Any, generation: Any, system: str | None) -> None:
    from edge_node.frontends.chat import chat as run_chat

    run_chat(settings, generation, system)


def _ask(settings: Any, generation: Any, request: str, as_json: bool, system: str | None) -> None:
    from edge_node.assembly import connected
    from edge_node.dialogue.calls import CallReader
    from edge_node.dialogue.conversation import Answer
    from shared.pair import load_pair

    reader = CallReader(load_pair(settings.pair)) if as_json else None
    answer = Answer()
    text = sys.stdin.read().strip() if request == "-" else request
    with connected(settings, system) as conversation:
        for piece in conversation.ask(text, generation, answer):
            if reader is None:
                sys.stdout.write(piece)
                sys.stdout.flush()
        # Before the connection is left, which takes a moment.
        typer.echo(json.dumps(_report(answer, reader.read(answer.text)), ensure_ascii=False) if reader else "")


def _doctor(settings: Any, _: Any, as_json: bool) -> None:
    from edge_node.doctor import examine

    findings = []
    for finding in examine(settings):
        findings.append(finding)
        typer.echo(f"{finding.topic}: {'; '.join(finding.facts)}", err=as_json)
        if finding.problem:
            typer.echo(f"  problem: {finding.problem}", err=as_json)
    if as_json:
        problems = {finding.topic: finding.problem for finding in findings if finding.problem}
        typer.echo(json.dumps({f.topic: f.figures for f in findings} | {"problems": problems}))
    if any(finding.problem for finding in findings):
        raise typer.Exit(1)


def _report(answer: Any, reading: Any) -> dict[str, Any]:
    stats = answer.stats
    return {
        "text": answer.text,
        "calls": [{"name": call.name, "arguments": call.arguments} for call in reading.calls],
        "say": reading.say,
        "refused_calls": [{"text": line.text, "error": line.error} for line in reading.refused],
        "mode": stats.mode,
        "tokens": stats.tokens,
        "streamed": stats.streamed,
        "rounds": stats.rounds,
        "drafted": stats.drafted,
        "accepted": stats.accepted,
        "ms_per_token": round(stats.ms_per_token, 3),
        "first_token_ms": round(1e3 * stats.first_token_s, 3),
        "rtt_ms": round(stats.rtt_ms, 3),
        "seed": answer.sampling.seed,
        "temperature": answer.sampling.temperature,
        "notice": answer.notice,
    }


if __name__ == "__main__":
    app()
