"""Whether the hub serves tiny checkpoints of many architectures exactly, with transformers 4 and 5, or says why it does not.

Each checkpoint and the draft exported of it make a pair. A hub under each version of transformers serves it over a real broker,
nodes ask it greedily and sampled, in blocks and streaming, with a request that is longer than a window and one that is shorter, and
the oracle decodes each prompt alone. By name:

    compared        ids of answers that the oracle was asked for
    mismatches      answers that are not the oracle's
    refused         what the hub says, where it serves the checkpoint under no version
    draft_refused   what the exporter says, where it makes no draft: nodes then draft from the text itself
    transformers    the same by version, with the share of the drafted ids that were accepted
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.generation import Generation
from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from edge_node.settings import DrafterKind, Mode, Policy
from hub.export.export import export_draft
from shared.errors import SettingsError, SledError
from shared.pair import MANIFEST, load_pair
from shared.settings import shown
from tools.bench.report import progress, show_rows
from tools.rig.architectures import ARCHITECTURES, END, VOCABULARY
from tools.rig.oracle import Oracle, Rule
from tools.rig.shapes import save_words
from tools.rig.testbed import HubBed, running_hub

NODE = "node-0"
WAYS: dict[str, dict[str, Any]] = {
    "in blocks": {"mode": Mode.SPECULATE, "policy": Policy.FIXED, "draft_length": 5},
    "stream": {"mode": Mode.STREAM},
}
RULES = (Rule(0.0, 0, 1.0, 0), Rule(0.8, 0, 0.9, 7))
REQUESTS = tuple(
    " ".join(str(END + 1 + 37 * place % (VOCABULARY - 1)) for place in range(n)) for n in (7, 48)
)  # words are ids
MAX_TOKENS = 32
_OPTIONS = ("--threads", "1", "--kv-memory", "16M")
_AT_ONCE = 2  # hubs
_SAID = "sled-hub: "  # before the sentence with which a hub ends


@dataclass(frozen=True)
class Served:
    """A checkpoint as a pair, and what the exporter says if it has no draft."""

    folder: Path
    draft_refused: str | None


def run(names: Sequence[str], other: Path | None, as_json: bool) -> int:
    """Print the figures of each of `names`, by default of all; return the number of mismatches.

    Hubs run under this Python and under `other`, None for that of the environment for transformers 5 beside this one. Raises SettingsError
    for a name or a Python that is not there, RuntimeError for a hub that does not start and says no sentence.
    """
    chosen = list(names) or list(ARCHITECTURES)
    for name in chosen:
        if name not in ARCHITECTURES:
            raise SettingsError(f"there is no architecture {shown(name)}; use one of {', '.join(ARCHITECTURES)}")
    other = other or Path(sys.prefix).parent / ".venv-transformers5" / "bin" / "python"
    if not other.exists():
        raise SettingsError(f"there is no {other}; name a Python that has transformers 5 by --other")
    pythons = {_transformers_of(python): python for python in (sys.executable, str(other))}
    with tempfile.TemporaryDirectory(prefix="sled-architectures-") as folder, progress() as bars:
        # All before the first hub: while a model is exported, others of its architecture do not compute as they should.
        making = bars.track(chosen, description="checkpoints and drafts")
        pairs = {name: made(name, Path(folder) / name) for name in making}
        cases = list(itertools.product(chosen, pythons))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            asked = pool.map(lambda case: _asked(pairs[case[0]], pythons[case[1]]), cases)
            outcomes = dict(zip(cases, bars.track(asked, len(cases), description="hubs"), strict=True))
    figures = {
        name: summed({version: outcomes[name, version] for version in pythons}, pairs[name].draft_refused)
        for name in chosen
    }
    columns = ("compared", "mismatches", "refused", "draft_refused")
    show_rows(
        "architectures",
        ("", *columns),
        [(name, *(its.get(each, "") for each in columns)) for name, its in figures.items()],
    )
    if as_json:
        print(json.dumps(figures))
    return sum(its.get("mismatches", 0) for its in figures.values())


def summed(by_version: dict[str, dict[str, Any]], draft_refused: str | None) -> dict[str, Any]:
    """The figures of a checkpoint over the versions of transformers."""
    served = [each for each in by_version.values() if "refused" not in each]
    if served:
        total: dict[str, Any] = {key: sum(each[key] for each in served) for key in ("compared", "mismatches")}
    else:
        total = {"refused": next(iter(by_version.values()))["refused"]}
    return total | ({} if draft_refused is None else {"draft_refused": draft_refused}) | {"transformers": by_version}


def _transformers_of(python: str) -> str:
    """The version of transformers that a Python has. Raises SettingsError."""
    asked = "import importlib.metadata as m; print(m.version('transformers'))"
    done = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SettingsError(f"{python} has no transformers; install the hub there")
    return done.stdout.strip()


def made(name: str, folder: Path) -> Served:
    """The pair of that checkpoint in `folder`."""
    target = ARCHITECTURES[name].save(folder / "target")
    refused, draft = None, '[draft]\nmodel = "draft.onnx"\n'
    try:
        export_draft(target, folder / "draft.onnx")
    except SledError as error:
        refused, draft = str(error), ""
    save_words(VOCABULARY, folder)
    (folder / MANIFEST).write_text(
        f'schema = 1\nname = "{name}"\n\n[target]\ncheckpoint = "target"\ndtype = "float32"\n\n{draft}\n'
        f'[tokenizer]\nfile = "tokenizer.json"\nchat_template = "chat_template.jinja"\nend = ["{END}"]\n'
    )
    return Served(folder, refused)


def _asked(pair: Served, python: str) -> dict[str, Any]:
    """What a hub under that Python answers, beside the oracle; or what it says instead."""
    try:
        with running_hub([NODE], str(pair.folder), _OPTIONS, python=python) as bed:
            answers = {way: _answers(bed, pair, way) for way in WAYS}
            context = bed.context
    except RuntimeError as error:
        said = str(error).splitlines()[-1]
        if not said.startswith(_SAID):
            raise
        return {"refused": said.removeprefix(_SAID)}
    oracle = Oracle(str(pair.folder / "target"), VOCABULARY, [END], context)
    given = itertools.chain(*answers.values())
    compared, mismatches = judged(oracle, ((prompt, rule, answer.ids) for prompt, rule, answer in given))
    drafted = [answer.stats for _, _, answer in answers["in blocks"]]
    looked_at = sum(stats.accepted + stats.rejected for stats in drafted)
    acceptance = round(sum(stats.accepted for stats in drafted) / looked_at, 3) if looked_at else None
    return {"compared": compared, "mismatches": mismatches, "acceptance": acceptance}


def judged(oracle: Oracle, answers: Iterable[tuple[Sequence[int], Rule, Sequence[int]]]) -> tuple[int, int]:
    """Ids that the oracle was asked for, and how many of the answers, each with its prompt and rule, are not its own."""
    compared = mismatches = 0
    for prompt, rule, answer in answers:
        right = oracle.confirm(prompt, answer, rule, MAX_TOKENS)
        compared += len(right)
        mismatches += right != list(answer)
    return compared, mismatches


def _answers(bed: HubBed, pair: Served, way: str) -> list[tuple[list[int], Rule, Answer]]:
    """The prompts, how they were to be answered, and the answers that came."""
    drafter = DrafterKind.MODEL if pair.draft_refused is None else DrafterKind.NGRAM
    tokenizer = ChatTokenizer(load_pair(str(pair.folder)))
    answered = []
    with connected(bed.node(NODE, drafter=drafter, threads=1, **WAYS[way])) as node:
        for request, rule in itertools.product(REQUESTS, RULES):
            answer = Answer()
            node.clear()
            for _ in node.ask(
                request, Generation(rule.temperature, rule.top_k, rule.top_p, rule.seed, MAX_TOKENS), answer
            ):
                pass
            answered.append((list(tokenizer.prompt([Turn("user", request)])), rule, answer))
    return answered
