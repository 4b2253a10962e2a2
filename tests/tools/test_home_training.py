"""Training of the built-in pair, on tiny models: growing, stages, resuming, distilling, and what it all costs."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from shared.pair import load_pair
from tools.home.data.generate import Dialogue, dialogue
from tools.home.data.invent import HELD_OUT, Source
from tools.home.data.tokenizer import ASSISTANT, END, train_tokenizer
from tools.home.training import own_answers
from tools.home.training.batches import POOL, Batch, Text, batches, encode, grouped
from tools.home.training.compute import forward_flops, training_flops
from tools.home.training.distil import divergence
from tools.home.training.growth import freeze_below, resized
from tools.home.training.model import answer_logits, answer_losses, load_model, new_model
from tools.home.training.muon import Muon
from tools.home.training.own_answers import answered_pool, answers_of
from tools.home.training.plot_loss import boundaries, read_log
from tools.home.training.recipe import Distillation, Recipe, Stage, again
from tools.home.training.run import Run, Spent, rate_share
from tools.home.training.selection import hardest
from tools.home.training.stages import train_stages, train_step

pytestmark = pytest.mark.slow  # it trains

STAGED = Recipe((Stage(1, 0.3), Stage(2, 0.3), Stage(3, 0.4)), lookahead_steps=2, warmup_steps=2, batch_ids=512)
END_ID = 1


def config(depth: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=96,
        hidden_size=32,
        num_hidden_layers=depth,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=END_ID,
    )


def model(depth: int, seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return new_model(config(depth)).cpu()


def dialogues(seed: int = 0) -> Iterator[Text]:
    """Rows that count upwards from a random id; the second half is the answer."""
    rng = random.Random(seed)
    while True:
        length, first = rng.randrange(8, 24), rng.randrange(2, 60)
        yield Text(list(range(first, first + length)), [i >= length // 2 for i in range(length)])


def stream(seed: int = 0) -> Iterator[Batch]:
    rows, rng = dialogues(seed), random.Random(seed)
    while True:
        yield from grouped(itertools.islice(rows, 32), STAGED.batch_ids, rng)


def run(out: Path, budget: float, seed: int = 0) -> Run:
    return Run("target", out, STAGED, budget, model(1, seed))


def step_flops(depth: int) -> float:
    return training_flops(config(depth), rows=30, length=16, answers=240)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(600, dialogues=200, seed=0)


def test_new_layers_change_no_logit() -> None:
    small = model(2)
    batch = next(stream())
    grown = resized(small, 5)
    assert len(grown.model.layers) == 5
    assert torch.equal(answer_logits(grown, batch), answer_logits(small, batch))
    assert torch.equal(answer_logits(resized(grown, 2), batch), answer_logits(small, batch))


def test_the_look_ahead_changes_new_layers_only(tmp_path: Path) -> None:
    training = run(tmp_path, 60 * step_flops(2))
    batches_of_rows = stream()
    while not training.stage_is_over:
        train_step(training, next(batches_of_rows))
    training.next_stage()
    before = {name: weight.clone() for name, weight in training.model.named_parameters()}
    for _ in range(STAGED.lookahead_steps):
        train_step(training, next(batches_of_rows))
    changed = {name for name, weight in training.model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == {name for name in before if name.startswith("model.layers.1.")}
    train_step(training, next(batches_of_rows))
    train_step(training, next(batches_of_rows))
    assert not torch.equal(training.model.model.embed_tokens.weight, before["model.embed_tokens.weight"])


def test_stages_deepen_the_model_and_are_kept(tmp_path: Path) -> None:
    training = run(tmp_path, 100 * step_flops(3))
    train_stages(training, dialogues(), tmp_path)
    assert len(training.model.model.layers) == 3
    assert training.spent.flops >= training.budget
    assert [len(load_model(tmp_path / f"stage-{depth}").model.layers) for depth in (1, 2)] == [1, 2]
    assert "eager" not in (tmp_path / "stage-1" / "config.json").read_text()
    assert [point.depth for point in boundaries(read_log(tmp_path / "target.loss.csv"))] == [2, 3]
    assert training.spent.loss is not None
    assert training.spent.loss < read_log(tmp_path / "target.loss.csv")[0].loss


def test_the_hardest_are_the_fewest_that_hold_the_share() -> None:
    small, pool = model(2), list(itertools.islice(dialogues(), 50))
    losses = [answer_losses(small, next(grouped([text], 512, random.Random()))).sum().item() for text in pool]
    chosen = hardest(small, pool, 0.7, 512, random.Random(0))
    kept = sorted(losses, reverse=True)[: len(chosen.texts)]
    of_kept = sorted((losses[pool.index(text)] for text in chosen.texts), reverse=True)
    assert of_kept == pytest.approx(kept, rel=0.02)  # bfloat16, in batches of other shapes
    assert sum(kept) == pytest.approx(0.7 * sum(losses), abs=1.5 * max(losses))
    assert 20 < len(chosen.texts) < 36
    assert chosen.pool_loss == pytest.approx(sum(losses) / sum(sum(text.learnt) for text in pool), rel=0.01)
    tight = sum(forward_flops(config(2), 1, len(text.ids), len(text.ids), sum(text.learnt)) for text in pool)
    assert tight < chosen.flops < 1.5 * tight
    assert len(hardest(small, pool, 0.0, 512, random.Random(0)).texts) == 1


def test_once_most_are_easy_only_the_hardest_are_trained_on(tmp_path: Path) -> None:
    pool = list(itertools.islice(dialogues(), POOL))
    scoring = hardest(model(1), pool, 0.5, STAGED.batch_ids, random.Random(0))
    recipe = replace(STAGED, stages=(Stage(1, 1.0),), selective_below=10.0, loss_share=0.5)
    training = Run("target", tmp_path, recipe, scoring.flops * 2, model(1))
    training.spent.loss = scoring.pool_loss
    hard, not_yet = itertools.tee(dialogues())
    train_stages(training, hard, tmp_path)
    assert training.spent.loss == pytest.approx(scoring.pool_loss)
    trained = training.spent.flops - scoring.flops
    assert 0 < trained < 1.1 * scoring.flops
    whole = Run("whole", tmp_path, replace(recipe, selective_below=0.0), scoring.flops * 2, model(1))
    train_stages(whole, not_yet, tmp_path)
    assert whole.spent.steps > 1.5 * training.spent.steps


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    budget = 100 * step_flops(3)
    stopped = run(tmp_path, budget)
    batches_of_rows = stream()
    while stopped.spent.stage == 0 or stopped.spent.stage_steps < 10:
        train_step(stopped, next(batches_of_rows))
        if stopped.stage_is_over:
            stopped.next_stage()
    stopped.save()
    saved = Spent(**vars(stopped.spent))
    for _ in range(25):  # logged, but lost with what was not saved
        train_step(stopped, next(batches_of_rows))

    going_on = run(tmp_path, budget, seed=7)
    assert going_on.spent == saved
    assert going_on.depth == 2
    assert all(point.flops <= saved.flops for point in read_log(tmp_path / "target.loss.csv"))
    first, second = itertools.tee(stream(seed=5))
    train_step(going_on, next(first))
    again = run(tmp_path, budget, seed=8)
    train_step(again, next(second))
    for a, b in zip(going_on.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_rate_rises_at_a_stage_and_falls_at_the_end() -> None:
    recipe = Recipe((Stage(1, 1.0),), warmup_steps=4, decay_share=0.5)
    assert rate_share(Spent(), recipe, 8) == 0.25
    assert rate_share(Spent(flops=2, stage_steps=9), recipe, 8) == 1
    assert rate_share(Spent(flops=6, stage_steps=9), recipe, 8) == 0.5
    assert rate_share(Spent(flops=9, stage_steps=9), recipe, 8) == 0


def test_the_cost_of_a_step_counted_by_hand() -> None:
    # hidden 32, four heads of 8 with two for K/V, so q and o 32 x 32, k and v 32 x 16; three matrices of 32 x 48.
    layer = 32 * 32 + 32 * 16 + 32 * 16 + 32 * 32 + 3 * 32 * 48
    ids, length, answers = 2 * 10, 10, 7
    forward = 2 * layer * ids + 2 * (2 * ids * length * 32)  # scores, and values weighted by them
    head = 2 * 32 * 96 * answers
    assert forward_flops(config(3), 2, 10, 10, answers) == 3 * forward + head
    assert training_flops(config(3), 2, 10, answers) == 3 * (3 * forward + head)
    # The two lowest layers only run forward; the new one has both gradients, the head passes the inputs' on.
    assert training_flops(config(3), 2, 10, answers, frozen=2) == 2 * forward + 3 * forward + 2 * head


def test_freezing_needs_no_gradient_below() -> None:
    grown = resized(model(1), 3)
    freeze_below(grown, 1)
    answer_logits(grown, next(stream())).sum().backward()
    reached = {name.split(".")[2] for name, weight in grown.named_parameters() if weight.grad is not None}
    assert reached == {"1", "2"}
    freeze_below(grown, 0)
    assert all(weight.requires_grad for weight in grown.parameters())


def test_many_answers_at_once_are_those_of_one_at_a_time() -> None:
    target = model(2)
    with torch.no_grad():
        for parameter in target.parameters():
            parameter.mul_(3 if parameter.ndim == 2 else 1)  # clear margins between logits
    rng = random.Random(0)
    prompts = [[rng.randrange(2, 96) for _ in range(rng.randrange(3, 12))] for _ in range(24)]
    together, cost = answers_of(target, prompts, 0.0, longest=40)
    assert cost > 0
    for prompt, answer in zip(prompts, together, strict=True):
        expected: list[int] = []
        while len(expected) < 40 and END_ID not in expected:
            expected.append(int(target(torch.tensor([prompt + expected])).logits[0, -1].argmax()))
        assert answer == expected


def test_answers_that_are_the_targets_own_already_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    target = model(2)
    with torch.no_grad():
        for parameter in target.parameters():
            parameter.mul_(3 if parameter.ndim == 2 else 1)
    how = Distillation(rows=4, sampled=0.0, longest_answer=12, pass_ids=64)
    asked = [Text([first, first + 1, 7, 8], [False, True, False, True]) for first in range(20, 40)]
    written, _ = answered_pool(target, asked, how, "a name")
    assert any(text.ids[3] != 8 for text in written)
    rewritten: list[list[int]] = []

    def answers(target: LlamaForCausalLM, prompts: list[list[int]], *how: float) -> tuple[list[list[int]], int]:
        rewritten.extend(prompts)
        return [[END_ID]] * len(prompts), 0

    monkeypatch.setattr(own_answers, "answers_of", answers)
    again, _ = answered_pool(target, written, how, "another")
    assert len(rewritten) < 3, "bfloat16 may decide a close one otherwise"
    kept = [text for text in again if text.ids[-1] != END_ID]
    assert len(kept) > 10
    assert all(text in written for text in kept)


def test_sampled_answers_differ_from_greedy_ones_and_repeat() -> None:
    target = model(2)
    text = Text([5, 6, 7, 8], [False, False, False, True])

    def pool(sampled: float) -> list[list[int]]:
        how = Distillation(rows=4, sampled=sampled, temperature=2.0, longest_answer=8)
        return [each.ids for each in answered_pool(target, [text] * 8, how, "a name")[0]]

    greedy, sampled = pool(0.0), pool(1.0)
    assert len(set(map(tuple, greedy))) == 1
    assert len(set(map(tuple, sampled))) > 1
    assert sampled == pool(1.0)


def test_distilling_lowers_the_divergence() -> None:
    target, draft = model(2, seed=1), model(1, seed=2)
    batch = next(stream())
    optimizer = torch.optim.AdamW(draft.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = divergence(target, draft, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert all(weight.grad is None for weight in target.parameters())
    assert divergence(target, target, batch).item() == pytest.approx(0, abs=1e-6)


def test_exactly_the_assistants_ids_are_learnt(tokenizer: Tokenizer) -> None:
    rng = random.Random(1)
    drawn = dialogue(rng, Source("train"))
    text = encode(tokenizer, Dialogue("rooms: den, attic", (*drawn.exchanges, *drawn.exchanges)))
    exchanges = [*drawn.exchanges, *drawn.exchanges]
    rendered = "<|system|>rooms: den, attic<|end|>" + "".join(
        f"<|user|>{e.request}<|end|><|assistant|>{e.answer}<|end|>" for e in exchanges
    )
    assert tokenizer.decode(text.ids, skip_special_tokens=False) == rendered
    learnt = [token for token, by_assistant in zip(text.ids, text.learnt, strict=True) if by_assistant]
    assert tokenizer.decode(learnt, skip_special_tokens=False) == "".join(f"{e.answer}{END}" for e in exchanges)
    assert tokenizer.decode(text.prompt, skip_special_tokens=False).endswith(f"{exchanges[-1].request}{END}{ASSISTANT}")
    assert text.answered([5, 6]).ids == [*text.prompt, 5, 6]
    assert text.answered([5, 6]).learnt[-3:] == [False, True, True]


@pytest.mark.parametrize("system", [None, "rooms: den, attic"])
def test_the_text_is_what_the_chat_template_renders(tokenizer: Tokenizer, system: str | None) -> None:
    import jinja2

    drawn = replace(dialogue(random.Random(2), Source("train")), system=system)
    messages = [{"role": "system", "content": system}] if system is not None else []
    for exchange in drawn.exchanges:
        messages += [{"role": "user", "content": exchange.request}, {"role": "assistant", "content": exchange.answer}]
    template = jinja2.Template(load_pair("home").chat_template.read_text())
    rendered = template.render(messages=messages, add_generation_prompt=False)
    assert tokenizer.decode(encode(tokenizer, drawn).ids, skip_special_tokens=False) == rendered


def test_a_batch_marks_what_comes_next(tokenizer: Tokenizer) -> None:
    batch = next(batches(tokenizer, HELD_OUT, 1024, 400, "a name"))
    assert batch.ids.numel() <= 1024
    assert batch.answer.shape == (len(batch.ids), batch.ids.shape[1] - 1)
    assert not batch.answer[batch.ids[:, 1:] == 0].any()
    assert batch.answer.any(1).all()
    same = next(batches(tokenizer, HELD_OUT, 1024, 400, "a name"))
    assert torch.equal(batch.ids, same.ids)


def test_muon_is_torchs_in_another_number_format() -> None:
    torch.manual_seed(0)
    shapes = ((6, 12), (24, 12), (6, 12))
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(each.detach().clone()) for each in ours]
    muon = Muon(ours, 0.02, 0.01)
    reference = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        muon.step()
        reference.step()
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other, atol=2e-3)  # bfloat16's rounding of some updates of 0.02


def test_a_model_is_trained_on_as_deep_as_it_is() -> None:
    recipe = again(STAGED, 5)
    assert (recipe.stages, recipe.end(0)) == ((Stage(5, 1.0),), 1.0)
    assert 0 < recipe.rate < STAGED.rate
