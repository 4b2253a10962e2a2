"""Exactness: answers over the real broker, from four sessions at once, against the oracle, token by token.

Half of the cases are put to a hub as it comes, the others to one whose memory and batches are so small that it has to do
all that it can: `preempted` sessions lose their K/V in the middle of an answer, prompts come in chunks, and drafts are
`trimmed`. Nodes decode in all the ways there are, `switching` between modes in the middle of an answer too. On both hubs, chats under the same system message share its K/V (`shared_tokens`).

In float32 the oracle is plain `transformers`. In other formats no two programs round alike: there it is the hub's own target
with one session, token by token, and plain `transformers` is looked at for how often it would choose otherwise (`plain_flips`).
In int8 plain computes in bfloat16 throughout.
"""

from __future__ import annotations

import itertools
import queue
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.conversation import Conversation
from edge_node.dialogue.generation import Generation
from edge_node.rounds.gate import Gate
from edge_node.rounds.pace import Pace
from edge_node.settings import DrafterKind, Mode, Policy
from hub.model.device import pick_dtype
from shared.pair import Pair, load_pair
from tools.bench.judging import Chat, Court, judged
from tools.bench.report import progress, show
from tools.home.assemble import assemble
from tools.home.data.generate import exchange
from tools.home.data.invent import HELD_OUT
from tools.home.training.model import home_config, new_model
from tools.home.training.recipe import DRAFT_DEPTH
from tools.rig.number_format import NumberFormat
from tools.rig.oracle import Rule
from tools.rig.testbed import HubBed, running_hub

SESSIONS = 4
MAX_TOKENS = 96
_SWITCHES = 0.3  # share of a restless node's rounds before which it changes the mode
WAYS: dict[str, dict[str, Any]] = {  # in which a node decodes
    "one by one": {"mode": Mode.SPECULATE, "policy": Policy.FIXED, "draft_length": 1, "ahead": False},
    "in blocks": {"mode": Mode.SPECULATE, "policy": Policy.FIXED, "draft_length": 8, "ahead": False},
    "ahead": {"mode": Mode.SPECULATE, "policy": Policy.FIXED, "draft_length": 4},
    "stream": {"mode": Mode.STREAM},
    "auto": {"drafter": DrafterKind.AUTO},
    "switching": {"mode": Mode.AUTO},
}
TURNS = (1, 5)  # requests of a chat
KEPT = 4  # of which the pair's template shows the target so many
_LISTED = "Areas: den, north attic, hall, pantry\nFloors: loft, cellar\nDevices: " + ", ".join(
    f"{room} {thing}" for room in ("hall", "pantry", "den", "loft") for thing in ("lamp", "fan", "heater", "blind")
)
SYSTEMS = (None, f"{_LISTED}, desk lamp", f"{_LISTED}, kettle")
SMALL = 640  # KiB for each byte of a number: room for one long chat, and little more
COUNTED = ("target_forwards", "prefill_forwards", "trimmed", "shared_tokens", "preempted", "evicted")
# temperature, top_k, top_p
SAMPLINGS = ((0.0, 0, 1.0), (0.8, 0, 1.0), (0.8, 40, 0.9), (0.0, 40, 0.9))


@dataclass
class Case:
    """One conversation: how it is asked, and what came."""

    system: str | None
    requests: tuple[str, ...]
    sampling: tuple[float, int, float]
    draft: str  # folder of a pair: the built-in draft, or one with random weights
    way: str  # one of WAYS
    seed: int
    hub: int  # 0 for the hub as it comes, 1 for the small one
    answers: list[Answer] = field(default_factory=list)

    @property
    def chat(self) -> Chat:
        """For the judge."""
        ids = tuple(answer.ids for answer in self.answers)
        return Chat(self.system, self.requests, ids, Rule(*self.sampling, self.seed))


class _RestlessGate(Gate):
    """Changes the mode every few rounds, whatever is faster."""

    def __init__(self, pace: Pace, seed: int) -> None:
        super().__init__(pace, Mode.AUTO)
        self._rng = random.Random(seed)

    def choose(self, *_: object) -> bool:
        """See `Gate`."""
        self.streams ^= self._rng.random() < _SWITCHES
        return self.streams


def run(requests: int, pair_name: str, form: NumberFormat, threads: int, as_json: bool) -> None:
    """Print `compared_tokens`, `mismatches`, `rounds`, `target_forwards`, `accepted_histogram` and more.

    Hub and oracle compute in `form` with so many `threads`.
    """
    with tempfile.TemporaryDirectory(prefix="sled-pair-") as folder:
        pair = load_pair(pair_name)
        random_pair = _with_random_draft(pair, Path(folder))
        cases = _cases(requests, (str(pair.folder), str(random_pair)))
        counted: Counter[str] = Counter()
        dtype = pick_dtype(form.dtype)
        for number, options in enumerate(((), ("--kv-memory", f"{SMALL * dtype.itemsize}K", "--budget", "32"))):
            chosen = (*options, *form.hub_options, "--threads", str(threads))
            with running_hub([f"node-{i}" for i in range(SESSIONS)], str(pair.folder), chosen) as bed:
                _ask_all([case for case in cases if case.hub == number], bed)
                stats = bed.hub_stats()
                context = bed.context
            counted.update({key: stats[key] for key in COUNTED})
        court = Court(str(pair.folder), form, threads, context, KEPT, MAX_TOKENS)
        judgement = judged([case.chat for case in cases], court)
    nodes = [answer.stats for case in cases for answer in case.answers]
    histogram = Counter(accepted for s in nodes for accepted in s.accepted_by_round)
    figures = {
        "dtype": form.dtype,
        "weights": form.weights.value,
        "requests": len(cases),
        "compared_tokens": judgement.compared,
        "mismatches": judgement.mismatches,
        **({} if form.is_plain else judgement.flips.figures()),
        "rounds": sum(s.rounds for s in nodes),
        **counted,
        "streamed": sum(s.streamed for s in nodes),
        "drafted_ahead": sum(s.ahead for s in nodes),
        "early": sum(s.early for s in nodes),
        "switched": sum(s.streamed > 1 and s.drafted > 0 for s in nodes),
        "accepted_histogram": {str(k): histogram[k] for k in sorted(histogram)},
        "reopened": sum(s.reopened for s in nodes),
    }
    show("exactness", figures, as_json)


def _cases(count: int, drafts: tuple[str, str]) -> list[Case]:
    rng = random.Random(2026)
    combinations = list(itertools.product(SAMPLINGS, TURNS, drafts, WAYS))
    rng.shuffle(combinations)  # so that a short run has some of everything
    settings = itertools.cycle(combinations)
    cases = []
    for number, (sampling, turns, draft, way) in enumerate(itertools.islice(settings, count)):
        hub = (number + number // len(combinations)) % 2  # each combination meets both in turn
        asked = tuple(exchange(rng, HELD_OUT).request for _ in range(turns))
        cases.append(Case(rng.choice(SYSTEMS), asked, sampling, draft, way, rng.getrandbits(64), hub))
    cases.sort(key=lambda case: len(case.requests))  # long chats come together, and fill a small memory
    return cases


def _ask_all(cases: list[Case], bed: HubBed) -> None:
    """Ask the cases from SESSIONS threads, each a node of its own with one session at a time."""
    waiting: queue.SimpleQueue[Case | None] = queue.SimpleQueue()
    for case in cases:
        waiting.put(case)
    for _ in range(SESSIONS):
        waiting.put(None)
    with progress() as bars:
        bar = bars.add_task("asking", total=len(cases))

        def work(name: str) -> None:
            with ExitStack() as stack:
                nodes: dict[tuple[str, str], Conversation] = {}
                while (case := waiting.get()) is not None:
                    kind = (case.draft, case.way)
                    if kind not in nodes:
                        nodes[kind] = stack.enter_context(_node(bed, name, case))
                    _ask(nodes[kind], case)
                    bars.advance(bar)

        with ThreadPoolExecutor(SESSIONS) as pool:
            list(pool.map(work, (f"node-{i}" for i in range(SESSIONS))))


@contextmanager
def _node(bed: HubBed, name: str, case: Case) -> Iterator[Conversation]:
    with connected(bed.node(name, pair=case.draft, guided=False, **WAYS[case.way])) as conversation:
        if case.way == "switching":
            conversation.loop.gate = _RestlessGate(conversation.loop.pace, case.seed)
        yield conversation


def _ask(conversation: Conversation, case: Case) -> None:
    temperature, top_k, top_p = case.sampling
    conversation.renew(case.system)
    generation = Generation(temperature, top_k, top_p, case.seed, MAX_TOKENS)
    for request in case.requests:
        answer = Answer()
        for _ in conversation.ask(request, generation, answer):
            pass
        case.answers.append(answer)


def _with_random_draft(pair: Pair, folder: Path) -> Path:
    """The pair with a draft of random weights: nearly everything it proposes is rejected."""
    torch.manual_seed(0)
    tokenizer = Tokenizer.from_file(str(pair.tokenizer))
    new_model(home_config(DRAFT_DEPTH, tokenizer)).save_pretrained(folder / "draft")
    assemble(
        folder / "pair", tokenizer=pair.tokenizer, target=Path(pair.target), draft=folder / "draft", name=pair.name
    )
    return folder / "pair"
