"""Students: which layers they have, what they learn, and that they go on learning where they were."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch
from transformers import Qwen3ForCausalLM

from hub.distil.chats import Chats
from hub.distil.distilling import Lesson, distil, most_worth
from hub.distil.rounded_weight import learn_rounded, settle_rounded
from hub.distil.training import Training
from hub.export.layers import layers_of
from hub.export.rounded_file import ROUNDED, grid_of, named_rounded, read_rounded, write_rounded
from hub.export.rounding import round_layers
from hub.export.sensitivity import OUT, agreement, sensitivities
from hub.export.student import student_of
from hub.pairing.answers import Answered
from hub.pairing.making import Wish, make_pair
from shared.errors import PairError
from tests import models
from tests.hub.test_pairing import PROMPTS, Silent, whole

__all__ = ["whole"]


def texts(model: torch.nn.Module, count: int) -> list[Answered]:
    """What the model says greedily behind prompts of random ids."""
    found = []
    for seed in range(count):
        ids = torch.randint(2, models.VOCAB, (1, 12), generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            for _ in range(20):
                ids = torch.cat([ids, model(input_ids=ids).logits[:, -1:].argmax(-1)], 1)
        found.append(Answered(tuple(ids[0].tolist()), 12))
    return found


def test_a_layer_that_does_nothing_is_worth_nothing() -> None:
    model = models.qwen2()
    with torch.no_grad():
        for linear in (model.model.layers[0].self_attn.o_proj, model.model.layers[0].mlp.down_proj):
            linear.weight.zero_()
    losses = sensitivities(model, texts(model, 3), [OUT])
    assert losses[0][OUT].divergence == pytest.approx(0, abs=1e-6)
    assert losses[1][OUT].divergence > 0.1


def test_the_first_and_the_last_layer_are_kept_and_then_those_of_most_worth() -> None:
    assert most_worth([0.1, 5.0, 3.0, 4.0, 0.2], 4) == [0, 1, 3, 4]
    assert most_worth([0.1, 5.0, 3.0, 4.0, 0.2], 2) == [0, 4]
    assert most_worth([0.1, 5.0, 3.0], 1) == [1]


def test_a_student_computes_what_the_target_does_without_the_other_layers() -> None:
    model = models.qwen2()
    student = student_of(model, [1])
    ids = torch.arange(2, 30)[None]
    dropped = layers_of(model)[0]
    hook = dropped.register_forward_hook(
        lambda _, args, output: (args[0], *output[1:]) if isinstance(output, tuple) else args[0]
    )
    with torch.no_grad(), hook:
        torch.testing.assert_close(student(input_ids=ids).logits, model(input_ids=ids).logits)
    assert student.config.num_hidden_layers == 1
    assert len(layers_of(model)) == 2, "the target stays what it was"


def test_a_student_learns_and_goes_on_where_it_was(tmp_path: Path) -> None:
    model = models.llama()
    learnt = texts(model, 24)
    first = student_of(model, [1])
    before = agreement(first, learnt)
    state = tmp_path / "state.pt"
    losses: list[float] = []
    training = Training(model, first, learnt, 0.05, state)
    training.run(lambda _, loss: losses.append(loss))
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])
    assert agreement(first, learnt) > before
    again = student_of(model, [1])
    resumed = Training(model, again, learnt, 0.05, state)
    assert resumed.steps == training.steps == len(losses)
    resumed.run(lambda _, loss: losses.append(loss))
    assert len(losses) == training.steps, "the time was over before"
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    longer = Training(model, again, learnt, 0.06, state)
    longer.run()
    assert longer.steps > training.steps


def test_a_chat_that_was_cut_short_in_the_file_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    Chats(path).add([Answered((1, 2, 3), 1), Answered((4, 5), 1)])
    path.write_text(path.read_text() + '{"ids": [1, 2')
    chats = Chats(path)
    assert chats.known == [Answered((1, 2, 3), 1), Answered((4, 5), 1)]
    chats.add([Answered((6, 7), 1)])
    assert len(Chats(path).known) == 3


def test_weights_learn_to_be_in_four_bits(tmp_path: Path) -> None:
    model = models.qwen2()
    learnt = texts(model, 24)
    student = student_of(model, [0, 1])
    grid = round_layers(student, [4, 4], [text.ids for text in learnt])
    first = named_rounded(student, grid)
    assert len(first) == 14
    before = agreement(student, learnt)
    ids = torch.arange(2, 30)[None]
    with torch.no_grad():
        rounded = student(input_ids=ids).logits
        learn_rounded(student, first)
        torch.testing.assert_close(student(input_ids=ids).logits, rounded)
    Training(model, student, learnt, 0.1, tmp_path / "state.pt", 1e-3).run()
    with torch.no_grad():
        trained = student(input_ids=ids).logits
        written = settle_rounded(student)
        torch.testing.assert_close(student(input_ids=ids).logits, trained, atol=1e-4, rtol=1e-4)
    assert agreement(student, learnt) > before
    write_rounded(tmp_path / ROUNDED, written)
    again = grid_of(read_rounded(tmp_path / ROUNDED))
    for name, each in written.items():
        found = again.find(student.get_submodule(name).weight.detach().numpy())
        assert found is not None
        assert torch.equal(found.numbers, each.numbers)
        assert int(each.numbers.max()) < 16
    (tmp_path / "other.st").write_bytes(b"x" * 100)
    with pytest.raises(PairError, match="holds no rounded weights"):
        read_rounded(tmp_path / "other.st")


@pytest.mark.slow
def test_a_draft_from_nothing(whole: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(PROMPTS))
    lesson = Lesson(str(whole), 1, 0.12, text=str(prompts))
    figures = distil(lesson, tmp_path / "draft", Silent())
    assert figures.acceptance > figures.acceptance_untrained
    assert (len(figures.layers), figures.compared > 100, figures.texts >= 6) == (1, True, True)
    assert json.loads((tmp_path / "draft" / "distilled.json").read_text())["steps"] == figures.steps
    student = Qwen3ForCausalLM.from_pretrained(tmp_path / "draft")
    assert student.config.num_hidden_layers == 1
    assert (tmp_path / "draft" / "tokenizer.json").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["draft", "prompts.txt"]
    with pytest.raises(PairError, match="has 2 layers; a student has fewer"):
        distil(Lesson(str(whole), 2, 0.3), tmp_path / "other", Silent())
    assert not (tmp_path / ".other.making").exists()


@pytest.mark.slow
def test_a_draft_that_learnt_its_bits_is_exported_with_them(whole: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(PROMPTS))
    figures = distil(Lesson(str(whole), 2, 0.12, 4, str(prompts)), tmp_path / "draft", Silent())
    made = make_pair(Wish(str(whole), str(tmp_path / "draft"), text=str(prompts)), tmp_path / "pair", Silent())
    assert made is not None
    assert made.acceptance > figures.acceptance - 0.15
    nodes = [node for node in onnx.load(tmp_path / "pair" / "draft.onnx").graph.node if node.op_type == "MatMulNBits"]
    bits = [attribute.i for node in nodes for attribute in node.attribute if attribute.name == "bits"]
    assert set(bits[:-1]) == {4}
