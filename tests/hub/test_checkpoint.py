"""Checkpoints as people have them: what is served, and the sentence for all else, before it is served."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from hub.model.target import Target
from shared.errors import PairError
from tests import models

CPU = torch.device("cpu")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
Edit = Callable[[Path], Any]


def target(folder: Path | str, dtype: torch.dtype = torch.float32) -> Target:
    return Target(folder, device=CPU, dtype=dtype, kv_memory=1 << 20)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("whole")
    models.save(models.llama(), folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "target"))


def config(**facts: Any) -> Edit:
    return lambda folder: rewrite(folder / "config.json", lambda read: read.update(facts))


def rewrite(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    read = json.loads(path.read_text())
    edit(read)
    path.write_text(json.dumps(read))


def file(name: str, contents: bytes) -> Edit:
    return lambda folder: (folder / name).write_bytes(contents)


def weights(edit: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], made_for: str = "pt") -> Edit:
    def edited(folder: Path) -> None:
        tensors = edit(load_file(folder / WEIGHTS))
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / WEIGHTS, metadata={"format": made_for})

    return edited


def number(name: str, value: float) -> Edit:
    def edit(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        tensors[name].view(-1)[7] = value
        return tensors

    return weights(edit)


def renamed(new: str) -> Edit:
    return weights(lambda tensors: {name.replace("model.", new): tensor for name, tensor in tensors.items()})


def without(part: str) -> Edit:
    return weights(lambda tensors: {name: tensor for name, tensor in tensors.items() if part not in name})


def beside(name: str, *shape: int) -> Edit:
    return weights(lambda tensors: {**tensors, name: torch.ones(shape)})


def sharded(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    models.llama().save_pretrained(folder, max_shard_size="60KB")


def index(edit: Callable[[dict[str, Any]], Any]) -> Edit:
    def edited(folder: Path) -> None:
        sharded(folder)
        rewrite(folder / INDEX, edit)

    return edited


def shard(edit: Edit) -> Edit:
    def edited(folder: Path) -> None:
        sharded(folder)
        edit(sorted(folder.glob("model-*"))[1])

    return edited


def instead(name: str) -> Edit:
    """Another form of weights in place of safetensors."""
    return lambda folder: (folder / WEIGHTS).rename(folder / name)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 538090408\n"
OWN_CODE = {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}
LONGROPE = {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [4.0] * 8, "factor": 8.0}


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (file(WEIGHTS, POINTER), "pointer of Git LFS"),
        (file("config.json", POINTER), "is not JSON"),
        (shard(lambda path: path.write_bytes(POINTER)), "pointer of Git LFS"),
        (shard(Path.unlink), "lacks model-00002"),
        (shard(lambda path: path.write_bytes(path.read_bytes()[:-9])), "cut short"),
        (file(WEIGHTS, b""), "of 0 bytes, is cut short"),
        (file(WEIGHTS, bytes(range(256)) * 20), "cut short or no safetensors"),
        (file(WEIGHTS, bytes(5000)), "cut short or no safetensors"),
        (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-5000]), "cut short"),
        (lambda f: (f / WEIGHTS).unlink(), "no model.safetensors and no"),
        (shutil.rmtree, "no such folder"),
        (lambda f: (f / "config.json").unlink(), "cannot read .*config.json"),
        (index(lambda read: read["weight_map"].update(more="model-9.safetensors")), "lacks model-9.safetensors"),
        (index(lambda read: read["weight_map"].update(more="../model.safetensors")), "no safetensors file beside it"),
        (index(lambda read: read["weight_map"].update(more="model.bin")), "no safetensors file beside it"),
        (index(lambda read: read.update(weight_map=[1])), "has no weight_map"),
        (
            index(lambda read: read["weight_map"].update({"x.weight": read["weight_map"]["lm_head.weight"]})),
            "lacks x.weight",
        ),
        (instead("pytorch_model.bin"), "pickles"),
        (instead("model.pt"), "pickles"),
        (instead("model.gguf"), "GGUF"),
        (file("adapter_config.json", b"{}"), "adapter"),
        (file("config.json", bytes(range(256))), "is not JSON"),
        (file("config.json", b"[" * 200_000), "is not JSON"),
        (file("config.json", b'{"a": "' + b"x" * 5_000_000 + b'"}'), "more than 4194304 bytes"),
        (file("config.json", b"[]"), "JSON object"),
        (file("config.json", b"{}"), "does not know the architecture"),
        (config(model_type="llama9"), "does not know the architecture 'llama9'.*update"),
        (config(model_type="own", auto_map=OWN_CODE), "never runs code"),
        (config(transformers_weights="own.bin"), "transformers_weights"),
        (config(model_type="t5"), "no causal language model"),
        (config(model_type="bart"), "no causal language model"),
        (config(model_type="vit"), "no causal language model"),
        (config(model_type="gemma3"), "no causal language model"),
        (config(model_type="qwen2_vl"), "no causal language model"),
        (config(quantization_config={"quant_method": "awq", "bits": 4}), r"quantized \(awq\)"),
        (config(quantization_config={"quant_method": "gptq", "bits": 4}), r"quantized \(gptq\)"),
        (config(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}), "bitsandbytes"),
        (config(quantization_config={"quant_method": "fp8"}), r"quantized \(fp8\)"),
        (config(quantization_config={}), "quantized"),
        (weights(lambda t: {k: v.to(torch.float8_e4m3fn) for k, v in t.items()}), "stored as F8_E4M3"),
        (weights(lambda t: {k: v.to(torch.int8) for k, v in t.items()}), "stored as I8"),
        (weights(lambda t: t, made_for="tf"), "written for 'tf'"),
        (renamed("model.language_model."), "lacking|load the target"),
        (renamed("decoder."), "lacking|load the target"),
        (without("layers.0."), "not those that its config.json describes.* lacking"),
        (without("layers.1."), "describes 2 layers, and its weights are of 1"),
        (without("up_proj"), "model.layers.0.mlp.up_proj.weight, model.layers.1.mlp.up_proj.weight lacking"),
        (without("lm_head"), "lm_head.weight lacking"),
        (beside("foreign.weight", 3, 4), "foreign.weight unknown to it"),
        (beside("model.layers.0.self_attn.q_proj.bias", 64), "q_proj.bias unknown to it"),
        (config(num_hidden_layers=1), "model.layers.1.* and 6 more unknown to it"),
        (config(num_hidden_layers=3), "describes 3 layers, and its weights are of 2"),
        (config(num_hidden_layers=4000), "describes 4000 layers, and its weights are of 2"),
        (config(num_hidden_layers=10**9), "describes 1000000000 layers, and no model has more"),
        (config(vocab_size=97), "lm_head.weight, model.embed_tokens.weight of another shape"),
        (config(vocab_size=10**9), "of another shape"),
        (config(intermediate_size=97), "and 3 more of another shape"),
        (config(num_key_value_heads=4), "of another shape"),
        (config(num_attention_heads=0), "gives 0 for num_attention_heads|cannot load the target"),
        (config(hidden_size="64"), "64|hidden_size"),
        (config(max_position_embeddings=None), "max_position_embeddings"),
        (config(rope_scaling={"rope_type": "own", "factor": 2.0}), "cannot load the target"),
        (config(hidden_act="own"), "cannot load the target"),
        (config(layer_types=5), "cannot load the target"),
        (
            config(layer_types=["sliding_attention"] * 2),
            "layer 0 .* of type 'sliding_attention'|cannot load the target",
        ),
        (config(layer_types=["full_attention", "linear_attention"]), "layer 1 .* of type 'linear_attention'"),
        (number("model.norm.weight", float("nan")), "model.norm.weight .* NaN or infinity in float32"),
        (number("model.layers.1.mlp.up_proj.weight", float("inf")), "up_proj.weight .* NaN or infinity"),
        (weights(lambda t: {k: torch.zeros_like(v) for k, v in t.items()}), "nothing but zeros"),
    ],
)
def test_what_is_no_whole_checkpoint_of_a_target_is_refused(folder: Path, edit: Edit, says: str) -> None:
    edit(folder)
    with pytest.raises(PairError, match=says) as refused:
        target(folder)
    assert len(str(refused.value).replace(str(folder), "")) < 400
    assert "\n" not in str(refused.value)


def test_a_tied_head_that_is_another_one_is_not_left_out_in_silence(folder: Path) -> None:
    """Transformers 5 serves both as they are, 4 would leave one out."""
    config(tie_word_embeddings=True)(folder)
    if transformers.__version__.startswith("4."):
        with pytest.raises(PairError, match="lm_head.weight and model.embed_tokens.weight .* differ"):
            target(folder)
    else:
        model = target(folder)._model
        assert not model.lm_head._weight.equal(model.model.embed_tokens.weight)


@pytest.mark.parametrize(
    "edit",
    [
        sharded,
        config(auto_map=OWN_CODE),  # beside an architecture that transformers has
        config(attn_implementation="somebody/kernel"),
        beside("model.layers.0.self_attn.rotary_emb.inv_freq", 8),
        weights(lambda t: {k: v.double() for k, v in t.items()}),
        weights(lambda t: {k: v.half() if "mlp" in k else v.bfloat16() for k, v in t.items()}),
        file("generation_config.json", bytes(range(256))),
        config(max_position_embeddings=20),
    ],
)
def test_what_is_odd_and_whole_is_served(folder: Path, edit: Edit) -> None:
    edit(folder)
    (folder / "own.py").write_text("raise SystemExit('code of a checkpoint was run')")
    target(folder)


def test_a_number_too_large_for_the_dtype_is_refused_there_alone(folder: Path) -> None:
    number("model.layers.1.mlp.up_proj.weight", 1e5)(folder)
    target(folder)
    with pytest.raises(PairError, match="infinity in float16.*--dtype"):
        target(folder, torch.float16)


def test_an_id_without_an_embedding_concerns_its_own_texts_alone(folder: Path) -> None:
    number("model.embed_tokens.weight", float("nan"))(folder)
    target(folder)


@pytest.mark.parametrize("name", ["target", "owner/name", "./target", "hf:/owner/name"])
def test_a_name_is_a_folder_and_nothing_else(name: str) -> None:
    with pytest.raises(PairError, match="no such folder"):
        target(name)


def test_a_model_of_the_hugging_face_hub_that_cannot_be_had_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("owner/no-such-model-here", "a/b/c", ""):
        with pytest.raises(PairError, match=f"cannot fetch {name}") as refused:
            target(f"hf://{name}")
        assert len(str(refused.value)) < 400


@pytest.mark.parametrize("facts", [{"original_max_position_embeddings": 64}, {"original_max_position_embeddings": 20}])
def test_a_context_ends_where_all_rotary_factors_would_change(folder: Path, facts: dict[str, int]) -> None:
    """Past the boundary the factors of a short text would be those of the longest beside it."""
    config(**facts, rope_scaling={**LONGROPE, **facts})(folder)
    assert target(folder).context == facts["original_max_position_embeddings"]


@pytest.mark.parametrize("model", [models.longrope, models.phi4_mini])
def test_the_context_ends_where_rotary_factors_change_for_all(tmp_path: Path, model: Callable[[], Any]) -> None:
    """The check at the start has a text of that length beside others, and finds their bits alike."""
    served = target(models.save(model(), tmp_path))
    assert served.context == 64
    assert served.is_exact


def test_a_configuration_that_lists_its_layers_is_refused_before_it_does(tmp_path: Path) -> None:
    folder = tmp_path / "qwen2"
    models.save(models.qwen2(), folder)
    rewrite(folder / "config.json", lambda read: read.pop("layer_types", None))
    config(num_hidden_layers=10**9)(folder)
    with pytest.raises(PairError, match="describes 1000000000 layers, and no model has more"):
        target(folder)
