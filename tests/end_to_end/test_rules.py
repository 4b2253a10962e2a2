"""Every row of the two tables of docs/protocol.md."""

from __future__ import annotations

import pytest

from edge_node.rounds import session as node
from hub.sessions import session as hub
from shared.messages import Draft, Verdict

DIGESTS = {0: 100, 3: 103, 5: 105}


def draft(**changes: object) -> Draft:
    return Draft(**{"round": 8, "base": 5, "digest": 105, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arrives", "ruling"),
    [
        (draft(round=6), hub.DraftRuling.DROP),
        (draft(round=6, base=9), hub.DraftRuling.DROP),
        (draft(round=7), hub.DraftRuling.REPEAT),
        (draft(round=7, base=3, digest=1), hub.DraftRuling.REPEAT),
        (draft(), hub.DraftRuling.PROCEED),
        (draft(round=20), hub.DraftRuling.PROCEED),
        (draft(cut=True), hub.DraftRuling.PROCEED),
        (draft(append=(1,), tokens=(2,)), hub.DraftRuling.PROCEED),
        (draft(base=3, digest=103, cut=True), hub.DraftRuling.TRUNCATE),
        (draft(base=0, digest=100, cut=True, append=(1,)), hub.DraftRuling.TRUNCATE),
        (draft(base=3, digest=103), hub.DraftRuling.CATCH_UP),
        (draft(base=3, digest=103, tokens=(4,), until=9), hub.DraftRuling.CATCH_UP),
        (draft(base=3, digest=103, append=(1,)), hub.DraftRuling.OUT_OF_SYNC),
        (draft(base=6), hub.DraftRuling.OUT_OF_SYNC),
        (draft(base=6, cut=True), hub.DraftRuling.OUT_OF_SYNC),
        (draft(digest=1), hub.DraftRuling.OUT_OF_SYNC),
        (draft(base=3, digest=1, cut=True), hub.DraftRuling.OUT_OF_SYNC),
        (draft(base=3, digest=1), hub.DraftRuling.OUT_OF_SYNC),
    ],
)
def test_hub_rules_on_a_draft(arrives: Draft, ruling: hub.DraftRuling) -> None:
    assert hub.rule(arrives, current_round=7, committed=5, digest=DIGESTS.__getitem__) is ruling


@pytest.mark.parametrize(
    ("round_", "base", "end", "awaited", "ruling"),
    [
        (3, 10, 12, True, node.VerdictRuling.DROP),  # voided by a cut or an append
        (6, 10, 12, True, node.VerdictRuling.DROP),  # a round that was never sent
        (5, 11, 12, True, node.VerdictRuling.GAP),
        (4, 11, 12, False, node.VerdictRuling.GAP),
        (5, 10, 12, True, node.VerdictRuling.COMMIT),
        (4, 8, 12, True, node.VerdictRuling.COMMIT),  # a stream's verdict from before its credit was renewed
        (5, 8, 11, False, node.VerdictRuling.COMMIT),  # a further verdict of a stream
        (5, 8, 10, False, node.VerdictRuling.DROP),  # nothing new
        (5, 4, 9, True, node.VerdictRuling.DROP),
        (5, 10, 10, True, node.VerdictRuling.COMMIT),  # an answer with nothing but a finish
        (5, 10, 10, False, node.VerdictRuling.DROP),
        (4, 10, 10, True, node.VerdictRuling.DROP),
    ],
)
def test_node_rules_on_a_verdict(round_: int, base: int, end: int, awaited: bool, ruling: node.VerdictRuling) -> None:
    verdict = Verdict(round_, base, 0, tuple(range(end - base)))
    assert node.rule(verdict, floor=4, current_round=5, held=10, end=end, awaited=awaited) is ruling
