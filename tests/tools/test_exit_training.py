"""Exit heads: the trainer brings one nearer to its target and puts it into the pair; a shape's errs as often as it should."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import AutoModelForCausalLM

from hub.model.exits import ExitHead
from hub.model.target import Target
from shared.errors import PairError
from shared.pair import MANIFEST, Pair, load_pair
from tests import models
from tests.full_disk import full_disk
from tools.exits.__main__ import batches, candidates, main
from tools.exits.manifest import record
from tools.exits.texts import own_texts
from tools.exits.training import Heads
from tools.rig.shapes import shape_pair

pytestmark = pytest.mark.slow  # it trains

_MANIFEST = """schema = 1
name = "tiny"

[target]
checkpoint = "target"

[tokenizer]
file = "tokenizer.json"
chat_template = "chat_template.jinja"
end = ["1"]
"""


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    model = models.llama()
    model.config.max_position_embeddings = 24  # as long as its texts become
    models.save(model, tmp_path / "target")
    tokenizer = Tokenizer(WordLevel({str(token): token for token in range(models.VOCAB)}, unk_token="0"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }} {% endfor %}")
    (tmp_path / MANIFEST).write_text(_MANIFEST)
    return load_pair(str(tmp_path))


def test_training_brings_a_head_nearer_to_the_target(pair: Pair) -> None:
    model = AutoModelForCausalLM.from_pretrained(pair.target, dtype=torch.float32)
    # The same few again and again: to write its texts takes the target longer than learning from them.
    learnt = itertools.cycle([*itertools.islice(batches(own_texts(pair, model, None, "learnt"), 1024), 24)])
    judged = list(itertools.islice(batches(own_texts(pair, model, None, "judged"), 1024), 4))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    heads = Heads(model, [1], 64, next(learnt))
    (untrained,) = heads.agreement(judged)
    losses = [loss for (loss,) in heads.train(learnt, 150)]
    (trained,) = heads.agreement(judged)
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    assert trained.tokens > untrained.tokens + 0.1
    assert trained.blocks <= trained.tokens
    assert (trained.layer, trained.rest) == (1, 0.5)
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items()), "the target is frozen"


def test_the_command_puts_the_head_into_the_pair(pair: Pair, tmp_path: Path) -> None:
    requests = tmp_path / "requests.txt"
    requests.write_text("5 6 7\n\n8 9\n")
    for _ in range(2):
        main(str(pair.folder), steps=3, batch_ids=512, judged=1, width=4, requests=requests)
    again = load_pair(str(pair.folder))
    assert again.exit_head == pair.folder / "exit.safetensors"
    assert set(again.sha256) == {"exit.safetensors"}
    again.verify(again.exit_head)
    target = Target(
        again.target, device=torch.device("cpu"), dtype=torch.float32, kv_memory=1 << 20, exit_head=again.exit_head
    )
    assert target.exit_rest == 0.5


def test_texts_are_the_targets_own_answers(pair: Pair, tmp_path: Path) -> None:
    requests = tmp_path / "requests.txt"
    requests.write_text("5 6 7\n8 9\n")
    model = AutoModelForCausalLM.from_pretrained(pair.target, dtype=torch.float32)
    for text in itertools.islice(own_texts(pair, model, requests, "any"), 40):
        assert text.prompt in ([5, 6, 7], [8, 9])
        answer = text.ids[len(text.prompt) :]
        assert answer
        assert models.END not in answer[:-1]
    requests.write_text("\n")
    with pytest.raises(PairError, match="no requests"):
        next(own_texts(pair, model, requests, "any"))


def test_the_manifest_keeps_what_else_it_says(tmp_path: Path) -> None:
    manifest = tmp_path / MANIFEST
    (tmp_path / "a.safetensors").write_bytes(b"1")
    manifest.write_text(_MANIFEST + '\n[sha256]\n"tokenizer.json" = "00"\n')
    before = manifest.read_text().splitlines()
    for content in (b"1", b"2"):
        (tmp_path / "a.safetensors").write_bytes(content)
        record(manifest, "a.safetensors")
        lines = manifest.read_text().splitlines()
        added = [line for line in lines if line not in before]
        assert added[:2] == ["[exit]", 'head = "a.safetensors"']
        assert len(added) == 3
        assert [line for line in lines if line in before and line] == [line for line in before if line]


def test_layers_to_try() -> None:
    assert candidates(6, None) == [1, 2, 3, 4, 5]
    assert candidates(30, None) == [5, 10, 15, 20, 25]
    assert candidates(2, None) == [1]
    assert candidates(6, 4) == [4]
    with pytest.raises(PairError, match="behind 1 to 5"):
        candidates(6, 6)


def test_a_full_disk_leaves_the_head_that_was_there(tmp_path: Path) -> None:
    file = tmp_path / "exit.safetensors"
    torch.manual_seed(0)
    ExitHead(8, 4, 1).save(file)
    before = file.read_bytes()
    with full_disk(50), pytest.raises(OSError, match="File too large"):
        ExitHead(8, 4, 2).save(file)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(file.name, before)]


def test_the_exit_of_a_shape_errs_for_some_of_the_ids(tmp_path: Path) -> None:
    made = shape_pair("2m", "bfloat16", tmp_path)
    assert made.exit_head is not None
    head = ExitHead.load(made.exit_head).bfloat16()
    assert head.layer == 2
    model = AutoModelForCausalLM.from_pretrained(made.target, dtype=torch.bfloat16)
    ids = torch.arange(1, model.config.vocab_size)[:, None]
    with torch.inference_mode():
        output = model(ids, output_hidden_states=True, use_cache=False)
        said = model.lm_head(head(output.hidden_states[head.layer][:, 0])).argmax(-1)
    wrong = said != output.logits[:, 0].argmax(-1)
    assert 0.055 < float(wrong.float().mean()) < 0.075
