"""Small tokenizers of the kinds that models come with, each with the same control words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SPECIAL = ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<s>", "</s>")
PLAIN = ("<think>", "</think>", "<tool_call>")  # control words that are not marked as special
_TEXTS = [
    "turn on the lights in the kitchen",
    "unlock the front door, please",
    "good night",
    "the answer is yes",
    "[INST] what is it [/INST]",
    "### R:\n\nend of text | user | assistant | system | think | tool_call </> <s>",
]
_LETTERS = list("abcdefghijklmnopqrstuvwxyz ▁[]/:#\nINSTR.,?!<>|_")


def _special(**attributes: bool) -> list[AddedToken]:
    return [AddedToken(word, special=True, **{"normalized": False, **attributes}) for word in SPECIAL]


def _plain(**attributes: bool) -> list[AddedToken]:
    return [AddedToken(word, special=False, **{"normalized": False, **attributes}) for word in PLAIN]


def _byte_level(pattern: str | None = None, *, prefix: bool = False) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=pattern is None)
    tokenizer.pre_tokenizer = (
        byte_level
        if pattern is None
        else pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), byte_level])
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(_TEXTS * 20, trainer)
    return tokenizer


def gpt() -> Tokenizer:
    """Byte-level BPE; its ids of control words lie behind the model's."""
    tokenizer = _byte_level()
    tokenizer.add_tokens([*_special(), *_plain()])
    return tokenizer


def spaces() -> Tokenizer:
    """Runs of spaces are added tokens, as in GPT-NeoX, and these are text."""
    tokenizer = _byte_level(r"\p{L}+|[^\p{L}]")
    tokenizer.add_tokens([AddedToken(" " * n, normalized=True, special=False) for n in range(6, 1, -1)])
    tokenizer.add_tokens([*_special(), *_plain()])
    return tokenizer


def holes() -> Tokenizer:
    """Ids of control words behind a hole, as in conversions from tiktoken; and a file that cuts and pads what is encoded."""
    state = json.loads(_byte_level().to_str())
    vocab = state["model"]["vocab"]
    last = max(vocab.values())
    for i, word in enumerate(SPECIAL):
        vocab[word] = last + 2 + i
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.add_tokens([*_special(), *_plain()])
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=200, pad_token="!")
    return tokenizer


def prefixed() -> Tokenizer:
    """A space in front of every piece, and control words that take white space along."""
    tokenizer = _byte_level(prefix=True)
    tokenizer.add_tokens([*_special(lstrip=True), *_plain(rstrip=True)])
    return tokenizer


def whole_words() -> Tokenizer:
    """Control words that count only between other characters than letters, and a model that has them in its vocabulary."""
    tokenizer = _byte_level()
    state = json.loads(tokenizer.to_str())
    state["model"]["ignore_merges"] = True
    state["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    for word in SPECIAL:
        state["model"]["vocab"][word] = len(state["model"]["vocab"])
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.add_tokens([*_special(single_word=True), *_plain(single_word=True)])
    return tokenizer


def compatible() -> Tokenizer:
    """NFKC, which makes control words out of full-width characters, and lower case."""
    tokenizer = _byte_level()
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.add_tokens([*_special(normalized=True), *_plain(normalized=True)])
    return tokenizer


def llama(*, normalized: bool = False) -> Tokenizer:
    """Llama 2: a normalizer writes a space in front of what it gets, unknown characters are bytes."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    strip = decoders.Strip(" ", 1, 0)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), strip])
    words = ["<unk>", *SPECIAL]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=words, initial_alphabet=_LETTERS, show_progress=False)
    tokenizer.train_from_iterator(_TEXTS * 20, trainer)
    state = json.loads(tokenizer.to_str())
    vocab = state["model"]["vocab"]
    for byte in range(256):
        vocab[f"<0x{byte:02X}>"] = len(vocab)
    for token in state["added_tokens"]:
        token["normalized"] = normalized
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.add_tokens(_plain(normalized=normalized))
    return tokenizer


def old_llama() -> Tokenizer:
    """The same, with control words that are looked for in what the normalizer made."""
    return llama(normalized=True)


def _unigram(scheme: str) -> Tokenizer:
    pieces: list[tuple[str, float]] = [("<unk>", 0.0), *((word, 0.0) for word in (*SPECIAL, *PLAIN))]
    pieces += [(letter, -8.0) for letter in _LETTERS if letter != " "]
    pieces += [
        (piece, -4.0) for piece in ("▁the", "▁turn", "▁on", "▁answer", "▁yes", "end", "user", "▁door", "<|", "|>")
    ]
    pieces += [(f"<0x{byte:02X}>", -10.0) for byte in range(256)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=scheme == "always")
    metaspace = decoders.Metaspace(prepend_scheme=scheme, split=scheme == "always")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), metaspace])
    tokenizer.add_tokens([*_special(), *_plain()])
    return tokenizer


def unigram() -> Tokenizer:
    """Unigram, whose vocabulary has the control words; a space in front of every piece, as in T5."""
    return _unigram("always")


def unigram_first() -> Tokenizer:
    """The same with a space in front of the first piece alone, as in Llama 2 without its legacy."""
    return _unigram("first")


KINDS: dict[str, Callable[[], Tokenizer]] = {
    kind.__name__: kind
    for kind in (gpt, spaces, holes, prefixed, whole_words, compatible, llama, old_llama, unigram, unigram_first)
}
CHATML = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}<|assistant|>"
TEMPLATES: dict[str, str] = {
    "chatml": CHATML,
    "trimmed": "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content | trim }} <|end|>\n{% endfor %}<|assistant|>\n",
    "llama": "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ ' ' + m['content'] + ' </s>' }}"
    "{% else %}{{ '<s>[INST] ' + m['content'] + ' [/INST]' }}{% endif %}{% endfor %}",
    "alpaca": "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ m['content'] + '\n\n' }}"
    "{% else %}{{ '### I:\n' + m['content'] + '\n\n### R:\n' }}{% endif %}{% endfor %}",
    "thinking": "{% for m in messages %}<|{{ m.role }}|>{{ m.content.split('</think>')[-1] }}<|end|>{% endfor %}"
    "<|assistant|><think>",
}


def write_pair(folder: Path, tokenizer: Tokenizer, template: str, config: dict[str, Any] | None = None) -> Path:
    """A pair's folder without models."""
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "pair.toml").write_text(
        'schema = 1\nname = "tiny"\n[target]\ncheckpoint = "none"\n'
        '[tokenizer]\nfile = "tokenizer.json"\nchat_template = "chat_template.jinja"\nend = ["<|end|>"]\n'
    )
    return folder
