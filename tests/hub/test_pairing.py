"""Pairs of models that people bring: made, checked, refused in a sentence, and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from hub.pairing.making import NONE, Wish, make_pair
from shared.errors import PairError
from shared.pair import load_pair

WORDS = ("<|end|>", "<|user|>", "<|assistant|>", "<|system|>")
TEMPLATE = (
    "{{ bos_token or '' }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] | trim }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SHAPE = {
    "vocab_size": 272,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": 256,
    "head_dim": 16,
}
PROMPTS = [f"Say something about number {number}." for number in range(9)]


def tokenizer(words: Sequence[str] = WORDS, *, backwards: bool = False) -> Tokenizer:
    """One that writes bytes, and knows the words of a template; its bytes' ids may run `backwards`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet(), reverse=backwards)
    made = Tokenizer(models.BPE(vocab={letter: place for place, letter in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in words])
    return made


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chat model as people have them, small and with random weights."""
    folder = tmp_path_factory.mktemp("model") / "tiny-chat"
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(Qwen3Config(**SHAPE))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4)
    model.save_pretrained(folder)
    tokenizer().save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>", "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    generation = {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "eos_token_id": [256, 257]}
    (folder / "generation_config.json").write_text(json.dumps(generation))
    return folder


@pytest.fixture
def model(whole: Path, tmp_path: Path) -> Path:
    """The same, to change."""
    folder = tmp_path / whole.name
    folder.mkdir()
    for file in whole.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(PROMPTS))
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "hub", "pair", *map(str, arguments)]


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    told = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment}
    return subprocess.run(command(*arguments), capture_output=True, text=True, env=told, check=False, timeout=300)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The sentence in which a command failed."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("sled-hub: ")
    return last


@pytest.mark.slow
def test_a_model_becomes_a_pair_in_one_command(model: Path, prompts: Path, tmp_path: Path) -> None:
    out = tmp_path / "pair"
    done = run("create", "--target", model, "--out", out, "--text", prompts, "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    pair = load_pair(str(out))
    assert (pair.name, pair.end_tokens, pair.target_dtype) == ("tiny-chat", ("<|end|>", "<|user|>"), "float32")
    assert (pair.defaults.temperature, pair.defaults.top_k, pair.defaults.top_p) == (0.6, 20, 0.95)
    assert pair.draft is not None
    assert pair.draft.acceptance == pytest.approx(figures["acceptance"], abs=1e-4)
    assert figures["acceptance"] > 0.8
    assert pair.draft.step_bytes is not None
    assert 0.5 < pair.draft.step_bytes / pair.draft.model.stat().st_size < 1
    assert {"draft.onnx", "tokenizer.json", "target/config.json", "target/model.safetensors"} <= set(pair.sha256)
    assert all(pair.verify(out / file) for file in pair.sha256)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pair", "prompts.txt", "tiny-chat"]
    checked = run("check", out, "--json")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["drafts"] == {"default": 512}
    assert "is there already" in said(run("create", "--target", model, "--out", out))
    listed = run("list", tmp_path, "--json")
    assert set(json.loads(listed.stdout)) >= {"home", str(out)}
    (out / "draft.onnx").write_bytes(b"x")
    assert "is not the file that pair.toml recorded" in said(run("check", out))


@pytest.mark.slow
def test_a_draft_of_another_vocabulary_is_taken_with_what_it_costs(
    model: Path, whole: Path, prompts: Path, tmp_path: Path
) -> None:
    """The draft is the target with its bytes' ids backwards, so that it says the same in other ids."""
    other = Qwen3ForCausalLM.from_pretrained(whole)
    with torch.no_grad():
        for table in (other.model.embed_tokens.weight, other.lm_head.weight):
            table[:256] = table[:256].flip(0)
    draft = tmp_path / "other"
    other.save_pretrained(draft)
    tokenizer(("<eos>", *WORDS[1:]), backwards=True).save(str(draft / "tokenizer.json"))
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<eos>", "chat_template": TEMPLATE}
    (draft / "tokenizer_config.json").write_text(json.dumps(told))
    noted = Noting()
    wish = Wish(str(model), str(draft), text=str(prompts))
    figures = make_pair(wish, tmp_path / "pair", noted)
    assert figures is not None
    assert figures.acceptance > 0.7
    assert any("vocabulary is another than the target's" in line for line in noted.said)
    made = load_pair(str(tmp_path / "pair")).draft
    assert made is not None
    assert made.tokenizer == tmp_path / "pair" / "draft-tokenizer.json"
    assert made.words == {"<|end|>": "<eos>"}


@pytest.mark.slow
def test_what_was_done_before_an_end_without_warning_is_not_done_again(
    model: Path, prompts: Path, tmp_path: Path
) -> None:
    out, work = tmp_path / "pair", tmp_path / ".pair.making"
    wanted = command("create", "--target", model, "--out", out, "--text", prompts)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(wanted, env=environment, stderr=subprocess.PIPE, text=True) as first:
        deadline = time.monotonic() + 200
        while not (work / "making" / "answers.json").exists():
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
    assert not out.exists()
    assert (work / "making" / "answers.json").stat().st_size > 1000
    done = subprocess.run(wanted, env=environment, stderr=subprocess.PIPE, text=True, check=True)
    assert "asking the target" not in done.stderr
    assert "exporting the draft" in done.stderr
    assert load_pair(str(out)).draft is not None
    assert not work.exists()


class Silent:
    """Nobody is told."""

    def say(self, what: str) -> None:
        pass

    def of(self, what: str, total: int) -> Callable[[int], None]:
        return lambda _: None


class Noting(Silent):
    """What is told is kept."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, what: str) -> None:
        self.said.append(what)


Edit = Callable[[Path], object]


def pointer(folder: Path) -> None:
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 538090408\n"
    (folder / "model.safetensors").write_text(text)


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def sharded_without_one(folder: Path) -> None:
    Qwen3ForCausalLM.from_pretrained(folder).save_pretrained(folder / "parts", max_shard_size="40KB")
    (folder / "model.safetensors").unlink()
    for path in (folder / "parts").iterdir():
        path.rename(folder / path.name)
    min(folder.glob("model-*.safetensors")).unlink()


def without_a_layer(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if ".1." not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def larger_than_memory(folder: Path) -> None:
    """Headers that promise 137 GB, in a file that has them as a hole."""
    config = json.loads((folder / "config.json").read_text())
    config |= {"vocab_size": 2**20, "hidden_size": 2**15, "num_hidden_layers": 1, "layer_types": ["full_attention"]}
    (folder / "config.json").write_text(json.dumps(config))
    with torch.device("meta"):
        shapes = {name: list(t.shape) for name, t in Qwen3ForCausalLM(Qwen3Config(**config)).state_dict().items()}
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 4 * int(torch.tensor(shape, dtype=torch.int64).prod())
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


def config(**changes: object) -> Edit:
    def edit(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def tokenizer_config(**changes: object) -> Edit:
    def edit(folder: Path) -> None:
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (pointer, "pointer of Git LFS"),
        (pickled, "pickles"),
        (sharded_without_one, "model-00001-of"),
        (without_a_layer, "describes 2 layers, and its weights are of 1"),
        (larger_than_memory, "of memory are free"),
        (config(model_type="llama9"), "does not know the architecture"),
        (config(layer_types=["full_attention", "linear_attention"]), "linear_attention"),
        (config(quantization_config={"quant_method": "gptq", "bits": 4}), r"quantized (gptq)"),
        (tokenizer_config(chat_template=None), "has no chat template"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "cannot load the tokenizer"),
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "cannot load the tokenizer"),
        (tokenizer_config(chat_template="{% for m in"), "template"),
    ],
)
def test_a_model_that_makes_no_pair_is_refused_in_a_sentence_and_leaves_nothing(
    model: Path, prompts: Path, tmp_path: Path, edit: Edit, says: str
) -> None:
    edit(model)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(PairError) as refused:
        make_pair(Wish(str(model), NONE, text=str(prompts)), tmp_path / "pair", Silent())
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--target", "nowhere"), "there is no model 'nowhere'"),
        (("--target", ""), "needs a name"),
        (("--target", "nowhere.gguf"), "there is no model"),
        (("--target", "owner/model", "--bits", "3"), "--bits may be 4 or 8"),
        (("--target", "owner/model", "--name", "a b"), "1 to 64 letters"),
        (("--target", "owner/model", "--text", "absent.txt"), "there is no file absent.txt"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    assert says in said(run("create", *arguments, "--out", tmp_path / "pair", HF_HOME=str(tmp_path / "hf")))


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(PairError, match="cannot read .*model.gguf"):
        make_pair(Wish(str(tmp_path / "model.gguf"), NONE), tmp_path / "pair", Silent())
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


@contextmanager
def hub_that_answers(status: int, code: str) -> Iterator[str]:
    """A server in the place of the Hugging Face hub, which says so to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (403, "GatedRepo", "its owner must allow it first"),
        (404, "RepoNotFound", "there is no such model, or it is private"),
        (404, "RevisionNotFound", "it has no revision 'v9'"),
        (500, "", "cannot fetch owner/model"),
    ],
)
def test_a_model_that_cannot_be_fetched_is_one_sentence(tmp_path: Path, status: int, code: str, says: str) -> None:
    with hub_that_answers(status, code) as endpoint:
        assert says in fetching("owner/model@v9", HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="0", HF_HOME=str(tmp_path))


def test_a_hub_that_may_not_ask_the_network_says_so(tmp_path: Path) -> None:
    assert "HF_HUB_OFFLINE forbids" in fetching("owner/model", HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    assert "the network does not lead" in fetching("owner/model", **nowhere)


def fetching(name: str, **environment: str) -> str:
    """What is said of a model that can't be fetched, by a process that reads its environment anew."""
    program = f"from hub.model.remote import fetched\ntry: fetched({name!r})\nexcept Exception as e: print(type(e).__name__, e)"
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("PairError cannot fetch owner/model: ")
    return done.stdout


def test_the_devices_ids_are_those_of_transformers(whole: Path, tmp_path: Path) -> None:
    from hub.export.device import device
    from hub.pairing.chat import write_chat
    from hub.pairing.manifest import Written, write_manifest

    chat = write_chat(whole, tmp_path, None)
    write_manifest(tmp_path, Written("tiny", "target", "float32", chat.end), ["tokenizer.json"])
    turns = [
        {"role": "user", "content": " <|end|> ü "},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "b"},
    ]
    plain = [{"role": "user", "content": " ü "}, *turns[1:]]
    with device() as on_device:
        expected = AutoTokenizer.from_pretrained(whole).apply_chat_template(plain, add_generation_prompt=True)
        assert on_device.prompts(tmp_path, [plain]) == [list(expected)]
        assert on_device.prompts(tmp_path, [turns])[0].count(256) == 3, "what a user writes is no control word"
        with pytest.raises(PairError, match="no draft is open"):
            on_device.follow([1, 2, 3], 1)
        assert on_device.prompts(tmp_path, [plain]), "a refused request disturbs nothing"
