"""Chats as ids: answers go back in as they were generated, whatever the template does around them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models

from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from shared.errors import PairError
from shared.pair import Pair, load_pair
from shared.vocabulary import ids_below


@pytest.fixture
def pair() -> Pair:
    return load_pair("home")


def with_template(pair: Pair, text: str, folder: Path) -> ChatTokenizer:
    template = folder / "template.jinja"
    template.write_text(text)
    return ChatTokenizer(replace(pair, folder=folder, tokenizer=copy(pair.tokenizer, folder), chat_template=template))


def copy(path: Path, folder: Path) -> Path:
    (folder / path.name).write_bytes(path.read_bytes())
    return folder / path.name


def encode(pair: Pair, text: str) -> list[int]:
    ids: list[int] = Tokenizer.from_file(str(pair.tokenizer)).encode(text, add_special_tokens=False).ids
    return ids


def test_a_prompt_ends_where_the_assistant_begins(pair: Pair) -> None:
    ids = ChatTokenizer(pair).prompt([Turn("system", "areas: den"), Turn("user", "hello")])
    assert ids == encode(pair, "<|system|>areas: den<|end|><|user|>hello<|end|><|assistant|>")


def test_generated_ids_are_kept_even_where_the_text_would_encode_otherwise(pair: Pair) -> None:
    odd = tuple(encode(pair, "t") + encode(pair, "h") + encode(pair, "e"))
    assert list(odd) != encode(pair, "the")
    ids = ChatTokenizer(pair).prompt([Turn("user", "say the"), Turn("assistant", "the", odd), Turn("user", "again")])
    head, tail = encode(pair, "<|user|>say the<|end|><|assistant|>"), "<|end|><|user|>again<|end|><|assistant|>"
    assert ids == [*head, *odd, *encode(pair, tail)]


def test_a_system_message_that_lists_no_home_is_left_out_for_a_pair_that_knows_lists_alone(pair: Pair) -> None:
    made = ChatTokenizer(pair).prompt([Turn("system", "You are a butler, and brief."), Turn("user", "hello")])
    assert made == encode(pair, "<|user|>hello<|end|><|assistant|>")
    other = ChatTokenizer(replace(pair, listed=None)).prompt([Turn("system", "be brief"), Turn("user", "hello")])
    assert other == encode(pair, "<|system|>be brief<|end|><|user|>hello<|end|><|assistant|>")


def test_a_template_may_leave_old_turns_out(pair: Pair) -> None:
    turns = [Turn("system", "areas: den")]
    for number in range(6):
        turns += [Turn("user", f"say {number}"), Turn("assistant", str(number), tuple(encode(pair, str(number))))]
    ids = ChatTokenizer(pair).prompt([*turns, Turn("user", "stop")])
    kept = "".join(f"<|user|>say {n}<|end|><|assistant|>{n}<|end|>" for n in (3, 4, 5))
    assert ids == encode(pair, f"<|system|>areas: den<|end|>{kept}<|user|>stop<|end|><|assistant|>")


def test_a_template_that_changes_answers_falls_back_to_their_text(pair: Pair, tmp_path: Path) -> None:
    template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content | upper }}<|end|>{% endfor %}<|assistant|>"
    odd = tuple(encode(pair, "t") + encode(pair, "h") + encode(pair, "e"))
    ids = with_template(pair, template, tmp_path).prompt([Turn("user", "a"), Turn("assistant", "the", odd)])
    assert ids == encode(pair, "<|user|>A<|end|><|assistant|>THE<|end|><|assistant|>")


def test_any_text_survives(pair: Pair) -> None:
    tokenizer = ChatTokenizer(pair)
    text = 'Ünïcode → 漢字 🤖\ttabs, 12.5°C and "quotes"'
    assert tokenizer.decode(encode(pair, text)) == text


def test_an_id_behind_a_hole_is_among_those_that_a_draft_may_write(pair: Pair, tmp_path: Path) -> None:
    words = {"<|system|>": 0, "<|user|>": 1, "<|assistant|>": 2, "a": 3, "<|end|>": 9}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="a"))
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    template = copy(pair.chat_template, tmp_path)
    chat = ChatTokenizer(
        replace(pair, folder=tmp_path, tokenizer=tmp_path / "tokenizer.json", chat_template=template, sha256={})
    )
    assert chat.end_ids == {9}
    assert chat.vocab_size == ids_below(tokenizer) == 10


@pytest.mark.parametrize(
    ("template", "says"),
    [("{% for m in %}", "not a valid chat template"), ("{{ raise_exception('no system here') }}", "no system here")],
)
def test_a_template_that_fails_says_so(pair: Pair, tmp_path: Path, template: str, says: str) -> None:
    with pytest.raises(PairError, match=says):
        with_template(pair, template, tmp_path).prompt([Turn("user", "a")])


def test_a_template_cannot_reach_the_system(pair: Pair, tmp_path: Path) -> None:
    tokenizer = with_template(pair, "{{ messages.__class__.__mro__ }}", tmp_path)
    with pytest.raises(PairError, match="refuses"):
        tokenizer.prompt([Turn("user", "a")])


def test_a_template_describes_the_tools_that_may_be_called(pair: Pair, tmp_path: Path) -> None:
    template = (
        "{% for t in tools or [] %}{{ t.function.name }} {% endfor %}"
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|>"
    )
    tokenizer = with_template(pair, template, tmp_path)
    turns = [Turn("user", "a"), Turn("assistant", "b"), Turn("tool", "c")]
    tools = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("light", "time")]
    assert tokenizer.prompt(turns, tools) == encode(pair, "light time " + rendered(turns))
    assert tokenizer.prompt(turns) == encode(pair, rendered(turns))


def rendered(turns: list[Turn]) -> str:
    return "".join(f"<|{turn.role}|>{turn.content}<|end|>" for turn in turns) + "<|assistant|>"


def test_a_pair_may_want_plain_characters_of_what_people_type_and_of_nothing_else(pair: Pair) -> None:
    typed = [
        Turn("system", "Areas: Küche\nDevices: “lamp”"),
        Turn("user", "don\u2019t turn\ton…"),
        Turn("assistant", "é"),
    ]
    plain = [Turn("system", "Areas: Kuche\nDevices: lamp"), Turn("user", "don't turn on"), Turn("assistant", "é")]
    asked = Turn("user", "so")
    wants = ChatTokenizer(replace(pair, plain=True))
    assert wants.prompt([*typed, asked]) == ChatTokenizer(replace(pair, plain=False)).prompt([*plain, asked])
