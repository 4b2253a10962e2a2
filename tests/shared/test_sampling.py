"""The sampling rule: golden values, the same ids from numpy and torch, and the right distributions."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hub.model import sampling as on_torch
from hub.model.batch import Row
from shared.guide import allowed
from shared.messages import MAX_SURPRISAL
from shared.sampling import LARGE_VOCAB, LOUD, MAX_NOISE, draw, gumbel, loud_ids, noise_hash, position_key, surviving
from shared.sampling_parameters import Sampling
from tools.rig import oracle

P_VALUE = 1e-4  # the seeds are fixed: a test that passes once passes always
DRAWS = 10_000  # probabilities that are off by a tenth would be seen

# (seed, position, id) -> hash and noise; the same values stand in docs/sampling.md.
GOLDEN = [
    ((0, 0, 0), 3423409810, -0.46682194530868426),
    ((0, 0, 1), 4198644754, -1.3343421267149882),
    ((1, 0, 0), 3300852373, -0.38072587034941485),
    ((0, 1, 0), 3723937815, -0.7019871833624113),
    ((2026, 57, 151_935), 2131945083, 0.37696872719399044),
    ((2**64 - 1, 1_000_000, 2047), 1380721109, 0.947181081965708),
]
# (temperature, top_k, top_p) -> tokens at positions 0 to 15 with seed 42
GOLDEN_LOGITS = [0.5, 2.0, -1.0, 1.5, 2.0, 0.0, -3.0, 1.0]
GOLDEN_DRAWS = {
    (0.0, 0, 1.0): [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    (1.0, 0, 1.0): [3, 1, 5, 4, 1, 2, 3, 0, 4, 1, 1, 2, 3, 3, 1, 4],
    (0.8, 3, 1.0): [3, 1, 1, 4, 1, 4, 3, 3, 4, 1, 1, 4, 3, 3, 1, 4],
    (0.8, 0, 0.7): [3, 1, 1, 4, 1, 4, 3, 3, 4, 1, 1, 4, 3, 3, 1, 4],
    (2.0, 5, 0.9): [3, 1, 0, 4, 1, 4, 3, 0, 4, 1, 1, 0, 3, 3, 1, 4],
}


def torch_hash(key: tuple[int, int], ids: Sequence[int]) -> list[int]:
    a, b = (torch.tensor(word) for word in key)
    hashes: list[int] = on_torch.noise_hash(a, b, torch.tensor(ids)).tolist()
    return hashes


@pytest.mark.parametrize(("where", "expected", "noise"), GOLDEN)
def test_golden_hashes_and_noise(where: tuple[int, int, int], expected: int, noise: float) -> None:
    seed, position, token = where
    key = position_key(seed, position)
    assert int(noise_hash(key, np.array([token]))[0]) == expected
    assert torch_hash(key, [token]) == [expected]
    assert oracle.noise_hash(seed, position, np.array([token])).tolist() == [expected]
    assert float(gumbel(np.array([expected], np.uint32))[0]) == pytest.approx(noise, rel=1e-12)


@pytest.mark.parametrize(("how", "drawn"), GOLDEN_DRAWS.items())
def test_golden_tokens(how: tuple[float, int, float], drawn: list[int]) -> None:
    temperature, top_k, top_p = how
    logits = np.array(GOLDEN_LOGITS, np.float32)
    sampling = Sampling(temperature, top_k, top_p, seed=42)
    assert [draw(logits, sampling, position) for position in range(16)] == drawn
    rows = torch.from_numpy(logits).expand(16, -1)
    assert on_torch.draw(rows, [sampling] * 16, range(16)) == drawn
    rule = oracle.Rule(temperature, top_k, top_p, 42)
    assert [oracle.choose(logits.astype(np.float64), rule, position) for position in range(16)] == drawn


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**63), st.lists(st.integers(0, 2**20), min_size=1, max_size=50))
def test_numpy_torch_and_oracle_hash_alike(seed: int, position: int, ids: list[int]) -> None:
    key = position_key(seed, position)
    hashes = noise_hash(key, np.array(ids)).tolist()
    assert hashes == torch_hash(key, ids) == oracle.noise_hash(seed, position, np.array(ids)).tolist()


def test_the_golden_values_stand_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "sampling.md").read_text()
    assert [h for _, h, g in GOLDEN if f"| {h} | {g} |" not in text] == []
    assert [how for how, drawn in GOLDEN_DRAWS.items() if ", ".join(map(str, drawn)) not in text] == []


def test_noise_lies_within_its_bounds() -> None:
    largest, smallest = gumbel(np.array([0, 2**32 - 1], np.uint32))
    assert 22.87 < largest < MAX_NOISE
    assert -3.2 < smallest < -3.1
    ends = torch.tensor([0, 2**32 - 1])
    assert on_torch.gumbel(ends).tolist() == pytest.approx([largest, smallest], rel=1e-14)


@pytest.mark.parametrize("part", ["seed", "position", "id"])
def test_every_input_bit_changes_every_hash_bit_half_of_the_time(part: str) -> None:
    rng = np.random.default_rng(3)
    flips, trials = np.zeros(32), 0
    for _ in range(40):
        seed, position, token = int(rng.integers(2**63)), int(rng.integers(2**31)), int(rng.integers(2**18))
        before = int(oracle.noise_hash(seed, position, np.array([token]))[0])
        for bit in range(18):
            changed = {
                "seed": (seed ^ (1 << bit), position, token),
                "position": (seed, position ^ (1 << bit), token),
                "id": (seed, position, token ^ (1 << bit)),
            }[part]
            key = position_key(changed[0], changed[1])
            after = int(noise_hash(key, np.array([changed[2]]))[0])
            flips += [(before ^ after) >> i & 1 for i in range(32)]
            trials += 1
    assert np.all(np.abs(flips / trials - 0.5) < 5 * 0.5 / math.sqrt(trials))


numbers = st.sampled_from([0.0, 1.0, 1.0, 2.5, -2.0, 7.0]) | st.floats(-30, 30, width=32)
samplings = st.builds(
    Sampling,
    st.sampled_from([0.0, 0.3, 0.8, 1.0, 3.0]),
    st.sampled_from([0, 1, 2, 5, 40, 1000]),
    st.sampled_from([1.0, 0.95, 0.5, 0.1]),
    st.integers(0, 2**64 - 1),
)


@example([0.0, 23.0, 23.0], Sampling(0.8, 0, 0.5, 0), 0, False)  # the share ends just where an id does
@settings(max_examples=300, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=60), samplings, st.integers(0, 10**6), st.booleans())
def test_numpy_torch_and_the_plain_rule_agree(row: list[float], sampling: Sampling, position: int, short: bool) -> None:
    tensor = torch.tensor([row], dtype=torch.bfloat16 if short else torch.float32)
    logits = tensor[0].float().numpy()
    rule = oracle.Rule(sampling.temperature, sampling.top_k, sampling.top_p, sampling.seed)
    plain = oracle.choose(logits.astype(np.float64), rule, position)
    assert draw(logits, sampling, position) == plain
    assert on_torch.draw(tensor, [sampling], [position]) == [plain]
    if sampling.temperature > 0:
        unfiltered = replace(sampling, top_k=0, top_p=1.0)
        assert draw(surviving(logits, sampling), unfiltered, position) == plain


@settings(max_examples=50, deadline=None)
@given(st.lists(samplings, min_size=1, max_size=12), st.integers(0, 2**31))
def test_a_batch_is_its_rows(mixed: list[Sampling], seed: int) -> None:
    logits = torch.from_numpy(np.random.default_rng(seed).normal(0, 4, (len(mixed), 500)).astype(np.float32))
    positions = list(range(7, 7 + len(mixed)))
    alone = [draw(row.numpy(), s, p) for row, s, p in zip(logits, mixed, positions, strict=True)]
    assert on_torch.draw(logits, mixed, positions) == alone


def test_ties_go_to_the_smallest_id() -> None:
    row = np.array([1.0, 3.0, 3.0, 3.0, 0.0], np.float32)
    assert draw(row, Sampling(), 0) == 1
    kept = {draw(row, Sampling(1.0, top_k=2, seed=s), 0) for s in range(200)}
    assert kept == {1, 2}
    kept = {draw(row, Sampling(1.0, top_p=0.3, seed=s), 0) for s in range(200)}
    assert kept == {1}


def test_masked_ids_are_never_drawn() -> None:
    row = np.array([-math.inf, 0.0, -math.inf, 0.0], np.float32)
    assert {draw(row, Sampling(5.0, seed=s), 0) for s in range(100)} == {1, 3}
    beyond = np.array([0.0, 0.0, 50.0], np.float32)
    assert {draw(beyond, Sampling(5.0, seed=s), 0, vocab_size=2) for s in range(100)} == {0, 1}


@pytest.mark.parametrize("row", [[math.nan, 0.0], [math.inf, 0.0], [-math.inf, -math.inf]])
def test_broken_logits_are_refused(row: list[float]) -> None:
    with pytest.raises(ValueError, match="model's output"):
        draw(np.array(row, np.float32), Sampling(), 0)
    with pytest.raises(ValueError, match="model's output"):
        on_torch.draw(torch.tensor([row]), [Sampling()], [0])


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": -0.1}, {"temperature": math.nan}, {"temperature": 101}, {"temperature": True}, {"temperature": "1"},
     {"top_k": -1}, {"top_k": 1.5}, {"top_k": True}, {"top_p": 0}, {"top_p": 1.1}, {"seed": -1}, {"seed": 2**64},
     {"seed": 1.0}],
)  # fmt: skip
def test_parameters_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Sampling(**wrong)  # type: ignore[arg-type]


# Distributions. p is over eight tokens; draws go through numpy, torch being the same id for id.

LOGITS_P = np.array([2.0, 1.0, 0.5, 0.0, -0.5, 1.5, -1.0, 0.2])
LOGITS_Q = np.array([1.0, 2.0, -0.5, 0.3, 0.5, 0.5, -2.0, 1.0])
T = 0.8


def softmax(logits: NDArray[np.float64], temperature: float = T) -> NDArray[np.float64]:
    weights = np.exp((logits - logits.max()) / temperature)
    probabilities: NDArray[np.float64] = weights / weights.sum()
    return probabilities


def fits(observed: Counter[object], expected: dict[object, float], draws: int) -> bool:
    """Chi-squared of counts against probabilities; outcomes of probability 0 must not occur at all."""
    assert all(expected.get(outcome, 0) > 0 for outcome in observed)
    outcomes = [outcome for outcome, probability in expected.items() if probability > 0]
    counts = [observed[outcome] for outcome in outcomes]
    wanted = [expected[outcome] * draws for outcome in outcomes]
    squares = sum((count - want) ** 2 / want for count, want in zip(counts, wanted, strict=True))
    half = torch.tensor([len(outcomes) - 1, squares], dtype=torch.float64) / 2
    return float(torch.special.gammaincc(*half)) > P_VALUE


@pytest.mark.slow
@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (3, 1.0), (0, 0.7), (5, 0.8)])
def test_tokens_over_seeds_are_distributed_as_p(top_k: int, top_p: float) -> None:
    order = np.argsort(-LOGITS_P)
    p = softmax(LOGITS_P)
    kept = order[: top_k or 8]
    mass = np.cumsum(p[kept]) / p[kept].sum()
    kept = kept[: int(np.searchsorted(mass, top_p)) + 1] if top_p < 1 else kept
    expected: dict[object, float] = {int(v): float(p[v] / p[kept].sum()) for v in kept}
    drawn = Counter[object](draw(LOGITS_P, Sampling(T, top_k, top_p, seed), 5) for seed in range(DRAWS))
    assert fits(drawn, expected, DRAWS)
    assert not fits(drawn, {v: 1 / len(kept) for v in expected}, DRAWS), "the test can tell distributions apart"


@pytest.mark.slow
@pytest.mark.parametrize("step", [(0, 1), (1, 0), (1, 1)], ids=["positions", "seeds", "both"])
def test_neighbours_are_independent(step: tuple[int, int]) -> None:
    p, q = softmax(LOGITS_P), softmax(LOGITS_Q)
    pairs = Counter[object](
        (
            draw(LOGITS_P, Sampling(T, seed=seed), 9),
            draw(LOGITS_Q, Sampling(T, seed=seed + step[0]), 9 + step[1]),
        )
        for seed in range(DRAWS)
    )
    assert fits(pairs, {(v, w): float(p[v] * q[w]) for v, w in itertools.product(range(8), repeat=2)}, DRAWS)


def test_positions_of_one_seed_are_distributed_as_p() -> None:
    p = softmax(LOGITS_P)
    drawn = Counter[object](draw(LOGITS_P, Sampling(T, seed=77), position) for position in range(DRAWS))
    assert fits(drawn, {v: float(p[v]) for v in range(8)}, DRAWS)


@pytest.mark.slow
def test_the_token_given_a_rejection_is_distributed_as_it_must_be() -> None:
    """Draft from q and target from p with the same noise: P(both draw v) = 1 / Σ_w max(p_w / p_v, q_w / q_v)."""
    p, q = softmax(LOGITS_P), softmax(LOGITS_Q)
    both = np.array([1 / np.maximum(p / p[v], q / q[v]).sum() for v in range(8)])
    rejected: Counter[object] = Counter()
    for seed in range(DRAWS):
        drafted = draw(LOGITS_Q, Sampling(T, seed=seed), 3)
        token = draw(LOGITS_P, Sampling(T, seed=seed), 3)
        if drafted != token:
            rejected[token] += 1
    total = rejected.total()
    assert abs(total / DRAWS - (1 - both.sum())) < 4 * math.sqrt(0.25 / DRAWS)
    assert fits(rejected, {v: float((p[v] - both[v]) / (1 - both.sum())) for v in range(8)}, total)
    distance = 0.5 * np.abs(p - q).sum()
    assert both.sum() >= (1 - distance) / (1 + distance) - 1e-12, "the bound of the rule's acceptance"


# How much noise is drawn.


def naive(logits: torch.Tensor, temperature: float, keys: torch.Tensor) -> torch.Tensor:
    """The rule without its shortcut: noise for every id."""
    ids = torch.arange(logits.shape[1])
    noise = on_torch.gumbel(on_torch.noise_hash(keys[:, :1], keys[:, 1:], ids))
    return (logits.double() / temperature + noise).argmax(dim=1)


def like_a_language_models(vocab: int) -> torch.Tensor:
    """Logits [48, vocab]: a head that falls off as 1 / rank^2 from a likeliest token of about one half, a bulk 17 nats below."""
    rng = np.random.default_rng(0)
    ranks = np.arange(1, vocab + 1)
    head = -2.0 * np.log(ranks) + rng.normal(0, 1, (48, vocab))
    bulk = np.broadcast_to(rng.normal(-17, 2.5, (48, vocab)), (48, vocab))
    logits = np.where(ranks < 200, head, bulk).astype(np.float32)
    return torch.from_numpy(rng.permuted(logits, axis=1))


@pytest.mark.parametrize(("vocab", "share"), [(32_000, 0.04), (152_000, 0.02)])
def test_noise_is_drawn_only_where_it_can_matter(vocab: int, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a small share of the ids, on logits as language models have them."""
    rows = like_a_language_models(vocab)
    several = [Sampling(T, seed=seed) for seed in range(48)]
    positions = [7] * 48
    keys = torch.tensor([position_key(s.seed, 7) for s in several])
    drawn = naive(rows, T, keys).tolist()
    assert [draw(row.numpy(), s, 7) for row, s in zip(rows, several, strict=True)] == drawn
    hashed: list[int] = []
    noise_of = on_torch.noise_hash

    def counted(*arguments: torch.Tensor) -> torch.Tensor:
        hashes = noise_of(*arguments)
        hashed.append(hashes.numel())
        return hashes

    monkeypatch.setattr(on_torch, "noise_hash", counted)
    assert on_torch.draw(rows, several, positions) == drawn
    assert 0 < sum(hashed) <= share * rows.numel()


def test_flat_logits_of_a_large_vocabulary_are_drawn_right() -> None:
    """Where every id can win, the loud ones are found by running the hash backwards."""
    rows = torch.zeros(48, LARGE_VOCAB)
    rows[:, ::2] = -12.0  # too far down for all but a loud id
    several = [Sampling(1.0, seed=seed) for seed in range(48)]
    keys = torch.tensor([position_key(s.seed, 0) for s in several])
    drawn = naive(rows, 1.0, keys).tolist()
    assert on_torch.draw(rows, several, [0] * 48) == drawn
    assert [draw(row.numpy(), s, 0) for row, s in zip(rows, several, strict=True)] == drawn
    for seed in range(200):
        key = position_key(seed, 3)
        hashes = noise_hash(key, np.arange(LARGE_VOCAB))
        assert sorted(loud_ids(key, LARGE_VOCAB)) == np.flatnonzero(hashes < LOUD).tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("vocab", [64, 100, 20_000])
def test_what_a_mask_leaves_out_is_not_there(vocab: int, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(vocab)
    words = -(-vocab // 32)
    samplings = [Sampling(), Sampling(1.0, seed=3), Sampling(0.8, 7, 0.9, 5), Sampling(2.0, 0, 0.5, 9)]
    masks: list[NDArray[np.uint32] | None] = [
        rng.integers(0, 2**32, (number % 3 + 1, words), dtype=np.uint32) if number != 1 else None
        for number in range(len(samplings))
    ]
    rows = [
        Row((), 10 * number, (1,) * 6, len(mask) if mask is not None else 2, sampling, mask)
        for number, (sampling, mask) in enumerate(zip(samplings, masks, strict=True))
    ]
    padded = torch.tensor(rng.normal(0, 3, (sum(row.wanted for row in rows), vocab + 28)), dtype=dtype)
    logits = on_torch.guided(padded, rows, vocab)
    assert logits.dtype == dtype
    drawn = on_torch.draw_wanted(logits, rows, vocab)
    place = 0
    for row, tokens in zip(rows, drawn, strict=True):
        assert tokens is not None
        part = padded[place : place + row.wanted, :vocab]
        if row.masks is not None:
            there = on_torch.unpacked_there(part, row.masks)
            assert torch.equal(there, logits[place : place + row.wanted])
        for at, token in enumerate(tokens):
            may_come = np.ones(vocab, np.bool_) if row.masks is None else allowed(row.masks, vocab)[at]
            plain = np.where(may_come, part[at].float().numpy(), -np.inf).astype(np.float32)
            assert token == draw(plain, row.sampling, row.end - row.wanted + 1 + at)
            assert may_come[token]
        place += row.wanted


def test_without_masks_logits_stay_as_they_are() -> None:
    logits = torch.zeros(2, 40)
    assert torch.equal(on_torch.guided(logits, [Row((), 0, (1,), 2)], 32), logits[:, :32])


def test_surprisal_is_the_models_own_of_each_drawn_id_in_the_order_of_rows() -> None:
    logits = 9 * torch.randn(7, 50, generator=torch.Generator().manual_seed(3))
    logits[6, :48] = -1000.0
    logits[6, 2] = 0.0
    wants = (True, False, True, True)
    rows = [Row((), 0, (1,) * n, n, wants_surprisal=w) for n, w in zip((2, 1, 3, 1), wants, strict=True)]
    drawn: list[list[int] | None] = [[3, 41], [7], None, [2]]
    own = -logits[:, :48].double().log_softmax(1)
    told = on_torch.surprisals(logits, rows, drawn, 48)
    assert told == [tuple(round(1e3 * float(own[place, token])) for place, token in ((0, 3), (1, 41))), (), (), (0,)]
    assert on_torch.surprisals(logits, rows[1:2], [[7]], 48) == [()]
    logits[0, 3] = -1e9
    assert on_torch.surprisals(logits, rows, drawn, 48)[0][0] == MAX_SURPRISAL
