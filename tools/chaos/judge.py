"""What a run was worth: each answer against the oracle, answers that were lost or hung, and how fast they went on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import torch
from rich.progress import Progress

from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from shared.pair import load_pair
from tools.bench.report import quantile
from tools.chaos.outages import Commit
from tools.chaos.play import Played
from tools.rig.chat import Chat
from tools.rig.oracle import Oracle, Rule

_PAIR = "home"
_CONTEXT = 1024  # ids that a session of the pair holds
_LONG_S = 60.0  # an answer that takes longer hangs, if nothing was missing for the last _GOOD_S of it
_GOOD_S = 20.0
MAX_TOKENS = 96  # of an answer


@dataclass
class Judgement:
    """Figures, and what is to be told about failures."""

    figures: dict[str, Any]
    complaints: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether anything went wrong that must not."""
        return any(self.figures[key] for key in ("mismatched_tokens", "lost_answers", "hangs"))


def judge(played: Played, bars: Progress) -> Judgement:
    """The figures that `python -m tools.chaos --help` explains."""
    complaints: list[str] = []
    mismatched = compared = 0
    for wrong, count, complaint in bars.track(list(_compared(played)), description="the oracle"):
        mismatched += wrong
        compared += count
        complaints += [complaint] if wrong else []
    lost = [f"{node}: {r['failed']} ({_after(r)})" for node, r in played.reports if "failed" in r]
    lost += played.ended
    hung = list(_hung(played))
    counted = played.counted
    recoveries = _recoveries(played)
    disturbed = sum(count for key, count in counted.items() if key.startswith("messages_"))
    answers = [report for _, report in played.reports if "ids" in report]
    figures = {
        "sessions": len(played.chats) + sum(report["reopened"] for report in answers),
        "answers": len(answers),
        "kills": counted["kills"],
        "kills_mid_round": counted["kills_mid_round"],
        "network_faults": counted["cuts"] + disturbed,
        "mismatched_tokens": mismatched,
        "lost_answers": len(lost),
        "hangs": len(hung),
        "recovery_ms_p99": round(1e3 * quantile(recoveries, 0.99), 1) if recoveries else 0.0,
        "recovery_ms_p50": round(1e3 * quantile(recoveries, 0.5), 1) if recoveries else 0.0,
        "recoveries": len(recoveries),
        "compared_tokens": compared,
        "streamed_tokens": sum(report["streamed"] for report in answers),
        "cuts": counted["cuts"],
        **{key: counted[key] for key in sorted(counted) if key.startswith("messages_")},
        "freezes": counted["freezes"],
        "restarts": counted["restarts"],
        "repeated_starts": counted["repeated_starts"],
        "skipped": counted["skipped"],
    }
    return Judgement(figures, complaints + lost + hung)


def _compared(played: Played) -> Iterator[tuple[int, int, str]]:
    """For each answer: tokens that differ from the oracle's, tokens compared, and a sentence about them."""
    pair = load_pair(_PAIR)
    tokenizer = ChatTokenizer(pair)
    torch.set_num_threads(1)  # for a model this small a second thread costs more than it brings
    oracle = Oracle(pair.target, tokenizer.vocab_size, sorted(tokenizer.end_ids), _CONTEXT)
    said: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for node, report in played.reports:
        if "ids" in report:
            said[node, report["chat"]].append(report)
    for (_, number), reports in said.items():
        chat, truths = played.chats[number], dict[int, tuple[int, ...]]()
        for report in reports:  # a turn comes again where its node was killed in one behind it
            turn = report["turn"]
            prompt = _prompt(tokenizer, chat, turn, truths)
            truth = oracle.confirm(prompt, report["ids"], Rule(*chat.sampling, chat.seed), MAX_TOKENS)
            truths[turn] = tuple(truth)
            differing = sum(a != b for a, b in zip_longest(truth, report["ids"]))
            yield differing, len(truth), f"chat {number}, turn {turn}: {report['ids']} should be {truth}"


def _prompt(tokenizer: ChatTokenizer, chat: Chat, turn: int, truths: dict[int, tuple[int, ...]]) -> list[int]:
    """What the target has before it at that turn, if all earlier turns were answered as they should."""
    turns: list[Turn] = []
    for before in range(turn):
        kept = tuple(i for i in truths[before] if i not in tokenizer.end_ids)
        turns += [Turn("user", chat.requests[before]), Turn("assistant", tokenizer.decode(kept), kept)]
    return tokenizer.prompt([*turns, Turn("user", chat.requests[turn])])


def _recoveries(played: Played) -> list[float]:
    found: list[float] = []
    for node, report in played.reports:
        if "ids" in report:
            commits = [Commit(at, hub) for at, hub in report["commits"]]
            found += played.outages.recoveries(node, report["began"], commits)
    return found


def _hung(played: Played) -> Iterator[str]:
    for node, report in played.reports:
        if "done" not in report and report["ended"] - report["began"] > _LONG_S:
            good = played.outages.stretches(node)
            if any(s.begin <= report["ended"] - _GOOD_S and report["ended"] <= s.end for s in good):
                yield f"{node}: chat {report['chat']} took {_after(report)}"
    for node, chat in played.unfinished.items():
        yield f"{node}: chat {chat.number} has not come to its end"


def _after(report: dict[str, Any]) -> str:
    return f"after {report['ended'] - report['began']:.1f} s"
