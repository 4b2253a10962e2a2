"""Each row of a forward gets its own masks, whatever becomes of its neighbours'."""

from __future__ import annotations

from edge_node.dialogue.calls import schemas_of
from hub.engine.row_masks import RowMasks
from hub.engine.scheduler import PlannedRow
from hub.sessions.session import HubSession, Limits, SessionKey
from shared.grammar import Grammar
from shared.guide import CompiledGrammar, GuideMaker
from shared.vocabulary import end_ids, ids_below, load_tokenizer
from tests.guided import PAIR, ids_of
from tools.bench.constrained import SCHEMAS

TOKENIZER = load_tokenizer(PAIR)
VOCAB, ENDS = ids_below(TOKENIZER), end_ids(PAIR, TOKENIZER)
MAKER = GuideMaker(PAIR.tokenizer, VOCAB, ENDS)
LIMITS = Limits(1024, VOCAB, frozenset(ENDS), 8)


def planned(grammar: CompiledGrammar | None, text: str, drafted: str = "", *, wants: bool = True) -> PlannedRow:
    session = HubSession(SessionKey("node", bytes(16)), LIMITS)
    ids, ahead = ids_of(text), ids_of(drafted)
    session.transcript.extend(ids)
    session.guide = None if grammar is None else grammar.guide()
    return PlannedRow(session, len(ids) - 1, (*ids[-1:], *ahead), len(ahead) + 1 if wants else 0, prefill=False)


def test_a_row_that_cannot_be_guided_costs_its_neighbours_nothing() -> None:
    schemas = schemas_of(PAIR)
    assert schemas is not None
    room, calls = MAKER.compile(Grammar.of_schema(SCHEMAS[0])), MAKER.compile(Grammar.of_own_calls(schemas.items()))
    text, drafted = '{"name":"HassTurnOn","arg', 'uments":{"area"'
    rows = [
        planned(None, "hello"),
        planned(room, '{"room"', ': "hall"'),
        planned(room, "hello", "there"),  # has left its grammar
        planned(calls, text, drafted),
        planned(room, '{"room"', wants=False),
        planned(room, '{"room"', ': "hall"'),  # the library follows it no further
        planned(calls, text),
    ]
    broken = rows[5].session.guide
    assert broken is not None
    broken.follow(rows[5].session.transcript.ids)
    broken._matcher.consume_tokens([*ENDS, *ENDS])
    masks = RowMasks().of(rows)
    assert [bool(row.session.misguided) for row in rows] == [False, False, True, False, False, True, False]
    assert masks[0] is masks[4] is None
    for number, row in enumerate(rows):
        made, guide = masks[number], row.session.guide
        if made is None or guide is None:
            continue
        assert made.shape == (row.wanted, guide.grammar.words)
        if row.session.misguided:
            assert not made.any()
            continue
        for place in range(row.wanted):
            alone = guide.grammar.guide().mask([*row.session.transcript.ids, *row.drafted[:place]])
            assert (made[place] == alone[0]).all(), (number, place)
