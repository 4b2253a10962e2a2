"""The drafter and the export it runs on, against transformers without a cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
import transformers as hf

from edge_node.drafting.drafter import Guess, first_tokens
from edge_node.drafting.onnx_drafter import DraftGraphError, OnnxDrafter
from hub.export.export import export_draft
from hub.export.tracing import ExportError
from shared.sampling import draw
from shared.sampling_parameters import Sampling

CONTEXT = 320  # longer than one chunk of a prefill
VOCAB = 1000
SHAPE = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.2,  # large enough for logits that tell one prefix from another
}
# Tied and grouped; with biases and an untied head; with norms between the projection and the rotation.
MODELS: dict[str, Callable[[], hf.PreTrainedModel]] = {
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**SHAPE, tie_word_embeddings=True)),
    "qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**SHAPE, tie_word_embeddings=False)),
    "qwen3": lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**SHAPE, head_dim=32, tie_word_embeddings=True)),
}
SAMPLINGS = [Sampling(), Sampling(temperature=0.8, seed=7), Sampling(temperature=1.3, top_k=40, top_p=0.9, seed=2**63)]


@dataclass(frozen=True)
class Exported:
    """A model, and the graph made of it."""

    model: hf.PreTrainedModel
    path: Path

    def logits(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """The oracle: transformers on the whole sequence without a cache; the logits behind each id."""
        with torch.no_grad():
            rows: torch.Tensor = self.model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits
        return rows[0].numpy()

    def draws(
        self, ids: Sequence[int], tokens: Sequence[int], sampling: Sampling, vocab: int = VOCAB
    ) -> tuple[int, ...]:
        """What the rule draws from the oracle's logits behind `ids`, then behind `ids` and the first of `tokens`, and so on."""
        rows = self.logits([*ids, *tokens])[len(ids) - 1 : -1, :vocab]
        return tuple(draw(row, sampling, len(ids) + k) for k, row in enumerate(rows))


def guesses(drafter: OnnxDrafter, ids: Sequence[int], count: int, sampling: Sampling) -> list[Guess]:
    return list(islice((guess for guess in drafter.draft(ids, sampling) if guess is not None), count))


def save(model: hf.PreTrainedModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


def random_ids(count: int, seed: int = 0) -> list[int]:
    return [int(i) for i in np.random.default_rng(seed).integers(VOCAB, size=count)]


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread() -> Iterator[None]:
    """For models of this size torch's threads mostly wait for each other, on a busy machine for long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=MODELS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    torch.manual_seed(1)
    model = MODELS[request.param]().eval()
    folder = tmp_path_factory.mktemp(request.param)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                parameter.add_(
                    torch.randn_like(parameter) * 0.2
                )  # as made they are 0 and 1, and could be left out unseen
    path = folder / "draft.onnx"
    export_draft(save(model, folder / "checkpoint"), path)
    return Exported(model, path)


def test_logits_are_those_of_transformers(exported: Exported) -> None:
    drafter = OnnxDrafter(exported.path)
    assert (drafter.context, drafter.vocab_size) == (CONTEXT, VOCAB)
    held: list[int] = []
    # A prefill, a block, single ids, then rewinds to other ids; at last two chunks and the end of the context.
    for seed, (keep, count) in enumerate(
        [(0, 40), (40, 6), (46, 1), (47, 1), (44, 3), (46, 1), (9, 30), (30, 289), (319, 1)]
    ):
        ids = random_ids(count, seed)
        held = held[:keep] + ids
        drafter.rewind(keep)
        np.testing.assert_allclose(drafter.feed(ids), exported.logits(held)[-1], rtol=0, atol=1e-4)
        assert drafter.held == tuple(held)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_draws_what_the_model_draws_over_rounds(exported: Exported, sampling: Sampling) -> None:
    drafter = OnnxDrafter(exported.path)
    ids = random_ids(30)
    for accepted in (5, 2, 0, 5):
        block = guesses(drafter, ids, 5, sampling)
        tokens = tuple(guess.token for guess in block)
        assert len(tokens) == 5
        assert tokens == exported.draws(ids, tokens, sampling)
        assert drafter.held == (*ids, *tokens[:-1])
        weights = np.exp(exported.logits([*ids, *tokens])[len(ids) - 1 : -1] / (sampling.temperature or 1))
        expected = weights[range(5), list(tokens)] / weights.sum(axis=1)
        assert [guess.confidence for guess in block] == pytest.approx(expected, rel=1e-3)
        ids = [*ids, *tokens[:accepted], 17 + accepted]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_runner_up_is_what_it_would_say_without_the_first(exported: Exported, sampling: Sampling) -> None:
    ids = random_ids(30)
    for guess in guesses(OnnxDrafter(exported.path), ids, 5, sampling):
        row = exported.logits(ids)[-1].copy()
        row[guess.token] = -np.inf
        assert guess.runner_up == draw(row, sampling, len(ids))
        ids = [*ids, guess.token]


def test_a_partial_rejection_leaves_no_trace(exported: Exported) -> None:
    drafter, fresh = OnnxDrafter(exported.path), OnnxDrafter(exported.path)
    ids = random_ids(50)
    tokens = first_tokens(drafter, ids, 8, SAMPLINGS[1])
    ids += [*tokens[:3], (tokens[3] + 1) % VOCAB, 5, 6]  # the hub's own ids may be several
    after, expected = (guesses(each, ids, 8, SAMPLINGS[1]) for each in (drafter, fresh))
    assert [guess.token for guess in after] == [guess.token for guess in expected]
    confidences = [guess.confidence for guess in expected]
    assert [guess.confidence for guess in after] == pytest.approx(confidences, rel=1e-4)


def test_drafts_that_take_turns_do_not_disturb_each_other(exported: Exported) -> None:
    drafter = OnnxDrafter(exported.path)
    ids = random_ids(120)
    texts = [ids, [*ids[:50], *random_ids(30, seed=2)], [*ids, 7]]
    drafts = [drafter.draft(text, SAMPLINGS[1]) for text in texts]
    tokens: list[list[int]] = [[], [], []]
    for _ in range(4):
        for said, draft in zip(tokens, drafts, strict=True):
            said.append(next(guess.token for guess in draft if guess is not None))
    for text, said in zip(texts, tokens, strict=True):
        assert tuple(said) == exported.draws(text, said, SAMPLINGS[1])


def test_a_long_text_is_taken_in_piece_by_piece(exported: Exported) -> None:
    drafter = OnnxDrafter(exported.path)
    ids = random_ids(300)
    draft = drafter.draft(ids, SAMPLINGS[0])
    pieces = 0
    while (guess := next(draft)) is None:
        pieces += 1
        assert 0 < len(drafter.held) < len(ids)
    assert pieces > 1
    assert (guess.token,) == exported.draws(ids, [guess.token], SAMPLINGS[0])
    # What another text has in common with it stays.
    turn = [*ids[:120], *random_ids(2, seed=2)]
    drafter.align(turn)
    assert drafter.held == tuple(turn[:120])


def test_stays_within_the_context(exported: Exported) -> None:
    drafter = OnnxDrafter(exported.path)
    ids = random_ids(CONTEXT)
    tokens = first_tokens(drafter, ids[:-3], 10, SAMPLINGS[0])
    assert len(tokens) == 3
    assert tokens == exported.draws(ids[:-3], tokens, SAMPLINGS[0])
    assert first_tokens(drafter, ids, 10, SAMPLINGS[0]) == ()
    assert first_tokens(drafter, [*ids, 1], 10, SAMPLINGS[0]) == ()
    drafter.rewind(0)
    drafter.feed(ids[:-1])
    with pytest.raises(ValueError, match="2 more ids do not fit"):
        drafter.feed([1, 2])
    assert drafter.held == tuple(ids[:-1])


def test_stops_behind_an_end_id(exported: Exported) -> None:
    ids = random_ids(20)
    free = first_tokens(OnnxDrafter(exported.path), ids, 8, SAMPLINGS[1])
    end = next(k for k in range(2, 8) if free[k] not in free[:k])
    drafter = OnnxDrafter(exported.path, end_ids=frozenset({free[end], VOCAB - 1}))
    assert first_tokens(drafter, ids, 8, SAMPLINGS[1]) == free[: end + 1]


def test_draws_no_id_past_the_tokenizer(exported: Exported) -> None:
    ids = random_ids(20)
    known = max(first_tokens(OnnxDrafter(exported.path), ids, 6, SAMPLINGS[1]))
    drafter = OnnxDrafter(exported.path, vocab_size=known)
    assert drafter.vocab_size == known
    tokens = first_tokens(drafter, ids, 6, SAMPLINGS[1])
    assert tokens == exported.draws(ids, tokens, SAMPLINGS[1], vocab=known)
    with pytest.raises(DraftGraphError, match=f"logits for {VOCAB} ids, the tokenizer has {VOCAB + 1}"):
        OnnxDrafter(exported.path, vocab_size=VOCAB + 1)


def test_stores_a_tied_embedding_once(exported: Exported) -> None:
    width = onnx.load(exported.path).graph.input[3].type.tensor_type.shape.dim[3].dim_value
    numbers = exported.model.num_parameters() + CONTEXT * width  # the tables: cos and sin of half the width
    assert exported.path.stat().st_size < 4 * (numbers + VOCAB * 64 / 2)


def test_the_graph_is_short(exported: Exported) -> None:
    graph = onnx.load(exported.path).graph
    operators = Counter(node.op_type for node in graph.node)
    layers = SHAPE["num_hidden_layers"]
    of_heads = exported.model.config.model_type == "qwen3"  # has norms between projection and attention
    assert operators["GroupQueryAttention"] == layers
    assert operators["MatMul"] == layers * (7 if of_heads else 5), "query, key and value are one product"
    assert operators["SkipSimplifiedLayerNormalization"] == 2 * layers
    assert operators["SimplifiedLayerNormalization"] == 1 + (2 * layers if of_heads else 0)
    assert operators["Pow"] == 0
    read = {name for node in graph.node for name in node.input}
    assert {tensor.name for tensor in graph.initializer} <= read


def test_refuses_what_makes_no_sense(exported: Exported) -> None:
    drafter = OnnxDrafter(exported.path)
    drafter.feed([1, 2, 3])
    for length in (-1, 4):
        with pytest.raises(ValueError, match=f"cannot rewind to {length}: the cache holds 3 ids"):
            drafter.rewind(length)
    with pytest.raises(ValueError, match="at least one committed id"):
        drafter.draft([], SAMPLINGS[0])


def test_says_why_a_file_is_no_draft_graph(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(DraftGraphError, match="there is no draft graph at"):
        OnnxDrafter(tmp_path / "none.onnx")
    (tmp_path / "noise.onnx").write_bytes(b"no graph")
    with pytest.raises(DraftGraphError, match=r"cannot load .*noise\.onnx"):
        OnnxDrafter(tmp_path / "noise.onnx")
    graph = onnx.load(exported.path)
    next(p for p in graph.metadata_props if p.key == "sled.context").value = "many"
    next(p for p in graph.metadata_props if p.key == "sled.layers").value = "3"
    onnx.save(graph, tmp_path / "other.onnx")
    with pytest.raises(
        DraftGraphError, match=r"lacks: metadata sled\.context, input past_key_values\.2\.key, .*present\.2\.v"
    ):
        OnnxDrafter(tmp_path / "other.onnx")


def test_export_refuses_what_makes_no_draft(tmp_path: Path) -> None:
    experts = hf.MixtralForCausalLM(hf.MixtralConfig(**SHAPE, num_local_experts=2, num_experts_per_tok=1))
    latent = {"moe_intermediate_size": 32, "kv_lora_rank": 16, "q_lora_rank": 16, "first_k_dense_replace": 2}
    heads = {"num_key_value_heads": 4, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16}
    unlike = hf.DeepseekV3ForCausalLM(hf.DeepseekV3Config(**SHAPE | latent | heads, n_routed_experts=1, n_group=1))
    windowed = hf.MistralForCausalLM(hf.MistralConfig(**SHAPE, sliding_window=100))
    out = tmp_path / "draft.onnx"
    for model, reason in ((experts, "mixture of experts"), (unlike, "differ in size")):
        with pytest.raises(ExportError, match=reason):
            export_draft(save(model, tmp_path / type(model).__name__), out)
    save(windowed, tmp_path / "windowed")
    with pytest.raises(ExportError, match="context of 320, not of 321"):
        export_draft(tmp_path / "windowed", out, context=321)
    assert not out.exists()
    export_draft(tmp_path / "windowed", out)
    assert OnnxDrafter(out).context == CONTEXT
