"""Chat templates as models bring them: what they may use, and that none costs more than its own process."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from edge_node.dialogue.template import ChatTemplate
from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from shared.errors import PairError, SettingsError
from shared.pair import load_pair
from tests.edge_node.tokenizers_of_many_kinds import CHATML, gpt, write_pair

TURNS = [{"role": "user", "content": "Küche <b> & 'x'"}, {"role": "assistant", "content": "yo"}]
CONFIG = {
    "bos_token": "<s>",
    "eos_token": {"content": "</s>", "lstrip": False, "__type": "AddedToken"},
    "pad_token": None,
    "add_bos_token": True,
}
_LOOP = "{% for m in messages %}"


def template(folder: Path, source: str | bytes, variables: dict[str, Any] | None = None) -> ChatTemplate:
    path = folder / "chat_template.jinja"
    path.write_bytes(source if isinstance(source, bytes) else source.encode())
    return ChatTemplate(path, variables).loaded()


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return gpt()


@pytest.mark.parametrize(
    "source",
    [
        "{{ bos_token }}" + CHATML,
        _LOOP
        + "{% set c = m['content'] %}{% if loop.first %}{% set c = bos_token + c %}{% endif %}{{ c + eos_token }}{% endfor %}",
        _LOOP + "{% generation %}{{ m['content'] }}{% endgeneration %}{% endfor %}",
        _LOOP + "{% generation %}{% set x = 1 %}{{ m['content'] }}\n{% endgeneration %}\n{% endfor %}{{ x }}",
        _LOOP + "{% if m['role'] == 'user' %}{% continue %}{% endif %}{{ m['content'] }}{% break %}{% endfor %}",
        _LOOP + "{{ m['content'] | tojson }}{{ m | tojson(indent=2, ensure_ascii=True) }}{% endfor %}",
        "{% if tools is not none %}{{ tools | length }}{% endif %}{% if documents is not none %}D{% endif %}" + CHATML,
        "{% if enable_thinking is defined and enable_thinking is false %}N{% endif %}" + CHATML,
        "{% if pad_token %}P{% endif %}{% if add_generation_prompt %}G{% endif %}\n",
        "{% macro turn(m) %}{{ m.role ~ ': ' ~ m.content }}{% endmacro %}" + _LOOP + "{{ turn(m) }}{% endfor %}",
        "{% set ns = namespace(n=0) %}" + _LOOP + "{% set ns.n = ns.n + m.content | length %}{% endfor %}{{ ns.n }}",
    ],
)
def test_templates_find_what_transformers_gives_them(tmp_path: Path, tokenizer: Tokenizer, source: str) -> None:
    write_pair(tmp_path, tokenizer, source, CONFIG)
    reference = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    expected = reference.apply_chat_template(TURNS, chat_template=source, add_generation_prompt=True, tokenize=False)
    chat = ChatTokenizer(load_pair(str(tmp_path)))
    turns = [Turn("user", TURNS[0]["content"]), Turn("assistant", TURNS[1]["content"])]
    assert chat.prompt(turns) == tokenizer.encode(expected, add_special_tokens=False).ids


def test_a_template_that_names_a_token_which_nothing_defines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PairError, match="bos_token; copy the model's tokenizer_config.json"):
        template(tmp_path, "{{ bos_token }}" + CHATML)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{% for m in %}", "not a valid chat template"),
        ("{% unknown %}", "not a valid chat template"),
        ("{{ 'a' | nothing }}", "not a valid chat template"),
        (b"\xff\xfe", "not UTF-8"),
        (b" " * (2**20 + 1), "larger than"),
        ("{{ " + "(" * 100_000, "not a valid chat template|nests too deep"),
        ("{{ " + "[" * 5_000 + "]" * 5_000 + " }}", "not a valid chat template|nests too deep"),
        ("{% if 1 %}" * 50_000, "not a valid chat template|nests too deep"),
        ("{{ 1" + " + 1" * 3_000 + " }}", "not a valid chat template|nests too deep"),
    ],
)
def test_what_is_no_template_is_refused_in_a_sentence(tmp_path: Path, source: str | bytes, says: str) -> None:
    with pytest.raises(PairError, match=says) as refused:
        template(tmp_path, source)
    assert len(str(refused.value)) < 500 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{{ raise_exception('no system here') }}", "refuses these messages: no system here$"),
        ("{{ raise_exception('x' * 100000 + '\n\x1b[2J') }}", "refuses these messages: x+$"),
        ("{{ messages[0].content + 1 }}", "TypeError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ messages.nothing.at_all }}", "no attribute 'nothing'"),
        ("{{ {}['a'] + 1 }}", "refuses"),
        ("{{ 10.0 ** 400 }}", "OverflowError"),
        ("{{ strftime_now(3) }}", "TypeError"),
        ("{{ messages | tojson(indent=messages) }}", "TypeError"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{{ messages.__class__.__mro__ }}", "refuses"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError|nests too deep"),
        ("{% for i in range(10**12) %}{% endfor %}", "Range too big"),
        ("{{ 'a' * (messages | length * 10**10) }}", "MemoryError|too much memory"),
        ("{{ 'a' * (messages | length * 10**7) }}", "20000000 characters"),
        ("{{ 'a'.center(10**11) }}", "MemoryError|too much memory"),
        (
            "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
            "MemoryError|too much memory",
        ),
    ],
)
def test_a_template_that_fails_says_so(tmp_path: Path, source: str | bytes, says: str) -> None:
    made = template(tmp_path, source)
    for _ in range(2):  # also the process that is started anew
        with pytest.raises(PairError, match=says) as refused:
            made.render(TURNS)
        assert str(refused.value).isprintable()
        assert len(str(refused.value)) < 500 + len(str(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(
    "source",
    [
        "{% set n = range(99999) %}{% for a in n %}{% for b in n %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{{ (messages | length) ** (9 ** 9) | int }}",
        "{{ 9 ** (9 ** 9) }}",  # which is computed while the template is read
    ],
)
def test_a_template_without_end_is_ended(tmp_path: Path, source: str) -> None:
    # A fast machine computes the third in time, and then finds that it has too many digits.
    with pytest.raises(PairError, match="comes to no end|Exceeds the limit"):
        template(tmp_path, source).render(TURNS)


def test_a_prompt_after_one_that_was_too_much_is_rendered(tmp_path: Path) -> None:
    made = template(
        tmp_path,
        _LOOP
        + "{{ m.content }}{% if m.content == 'much' %}{{ 'a' * (messages | length * 10**10) }}{% endif %}{% endfor %}",
    )
    with pytest.raises(PairError):
        made.render([{"role": "user", "content": "much"}])
    assert made.render([{"role": "user", "content": "little"}]) == "little"


def test_a_process_that_is_gone_is_replaced(tmp_path: Path) -> None:
    made = template(tmp_path, _LOOP + "{{ m.content }}{% endfor %}")
    assert made._process is not None
    os.kill(made._process.pid, signal.SIGKILL)
    with pytest.raises(PairError, match="ended"):
        made.render([{"role": "user", "content": "a"}])
    assert made.render([{"role": "user", "content": "b"}]) == "b"


def test_the_process_ends_with_its_template(tmp_path: Path) -> None:
    made = template(tmp_path, "a")
    assert made._process is not None
    pid = made._process.pid
    del made
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_message_that_is_no_text_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    chat = ChatTokenizer(load_pair(str(write_pair(tmp_path, tokenizer, CHATML))))
    with pytest.raises(SettingsError, match="not UTF-8"):
        chat.prompt([Turn("user", "caf\udce9")])


def test_an_end_token_that_the_tokenizer_lacks_is_named(tmp_path: Path, tokenizer: Tokenizer) -> None:
    folder = write_pair(tmp_path, tokenizer, CHATML)
    manifest = folder / "pair.toml"
    manifest.write_text(manifest.read_text().replace("<|end|>", "<|stop|>"))
    with pytest.raises(PairError, match="no token '<|stop|>'".replace("|", r"\|")):
        ChatTokenizer(load_pair(str(folder)))
