"""What a hub offers to devices, and who waits for which piece. tests/end_to_end/test_delivery.py has it on a broker."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from hub.delivery.counter import Counter
from hub.delivery.device_manifest import device_manifest
from hub.delivery.offer import Offer, make_offer
from hub.settings import HubSettings
from shared.errors import PairError, SettingsError
from shared.limits import MAX_PIECE
from shared.messages import Fetch
from shared.pair import MANIFEST, Pair, load_pair
from tools.rig.drafts import Extra, pair_with_drafts


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return pair_with_drafts(tmp_path / "lamps", {"pi.4": Extra(b"graph", 0.75, 900_000)})


def offer_of(pair: Pair) -> Offer:
    offer = make_offer(pair, lambda: True)
    assert offer is not None
    return offer


def device_folder(offer: Offer, draft: str, folder: Path) -> Path:
    """What a device has that fetched everything."""
    told = offer.told["drafts"][draft]
    for path, (size, digest) in {
        **{path: offer.told["files"][path] for path in told["files"]},
        MANIFEST: told["manifest"],
    }.items():
        data = offer.files[bytes.fromhex(digest)].read(0, size)
        assert hashlib.sha256(data).hexdigest() == digest
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


@pytest.mark.parametrize("draft", ["default", "pi.4"])
def test_a_device_that_has_what_is_offered_has_the_pair(pair: Pair, tmp_path: Path, draft: str) -> None:
    folder = device_folder(offer_of(pair), draft, tmp_path / "device")
    there = load_pair(str(folder))
    assert (there.name, there.defaults, there.end_tokens) == (pair.name, pair.defaults, pair.end_tokens)
    assert there.tokenizer_hash() == pair.tokenizer_hash()
    assert list(there.drafts) == [draft]
    assert there.drafts[draft].acceptance == pair.drafts[draft].acceptance
    assert there.drafts[draft].step_bytes == pair.drafts[draft].step_bytes
    assert there.exit_head is None
    for path in there.device_files(there.drafts[draft]):
        assert there.sha256[path.name]
        there.verify(path)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [MANIFEST, "tokenizer.json", "chat_template.jinja", "tools.json", there.drafts[draft].model.name]
    )


def test_what_the_hub_alone_needs_is_not_offered(pair: Pair) -> None:
    offered = {file.content for file in offer_of(pair).files.values()}
    assert pair.exit_head not in offered
    assert not [path for path in offered if isinstance(path, Path) and path.is_relative_to(pair.target)]


def test_the_tokenizers_configuration_goes_along_where_there_is_one(pair: Pair) -> None:
    (pair.folder / "tokenizer_config.json").write_text("{}")
    assert "tokenizer_config.json" in offer_of(pair).told["drafts"]["default"]["files"]


def test_a_draft_of_another_vocabulary_goes_with_its_tokenizer_and_words(pair: Pair, tmp_path: Path) -> None:
    manifest = pair.folder / MANIFEST
    words = 'tokenizer = "own.json"\nwords = {"<|end|>" = "<eos>", "a b" = "\\"c\\""}\n'
    manifest.write_text(manifest.read_text().replace("[draft]\n", f"[draft]\n{words}"))
    shutil.copy(pair.tokenizer, pair.folder / "own.json")
    changed = load_pair(str(pair.folder))
    there = load_pair(str(device_folder(offer_of(changed), "default", tmp_path / "device")))
    assert there.draft is not None
    assert there.draft.tokenizer == tmp_path / "device" / "own.json"
    assert there.draft.words == {"<|end|>": "<eos>", "a b": '"c"'}


def test_a_manifest_is_written_as_toml_whatever_stands_in_it(pair: Pair, tmp_path: Path) -> None:
    odd = 'a "quoted" \\ back\tslash \x7f é 🙂'
    written = r'"a \"quoted\" \\ back\tslash \u007F é 🙂"'
    path = pair.folder / MANIFEST
    path.write_text(path.read_text().replace('["<|end|>"]', f'["<|end|>", {written}]'))
    changed = load_pair(str(pair.folder))
    assert changed.end_tokens[1] == odd
    shutil.copytree(pair.folder, tmp_path / "copy")
    (tmp_path / "copy" / MANIFEST).write_bytes(device_manifest(changed, changed.drafts["pi.4"], {}))
    assert load_pair(str(tmp_path / "copy")).end_tokens == changed.end_tokens


def test_a_file_that_is_not_the_recorded_one_is_not_offered(pair: Pair) -> None:
    pair.tokenizer.write_bytes(pair.tokenizer.read_bytes() + b" ")
    with pytest.raises(PairError, match="is not the file that"):
        make_offer(pair, lambda: True)


def test_hashing_ends_when_the_hub_does(pair: Pair) -> None:
    assert make_offer(pair, lambda: False) is None


def test_a_file_that_has_become_shorter_can_not_be_read(pair: Pair) -> None:
    offer = offer_of(pair)
    file = next(file for file in offer.files.values() if file.content == pair.drafts["pi.4"].model)
    assert file.read(1, 3) == b"rap"
    pair.drafts["pi.4"].model.write_bytes(b"gr")
    with pytest.raises(OSError, match="has changed"):
        file.read(0, 5)


def fetch(offset: int) -> Fetch:
    return Fetch(bytes(32), offset, MAX_PIECE)


def test_nodes_take_turns_and_a_repeated_request_is_one() -> None:
    counter = Counter()
    for offset in (0, 0, 1, 2):
        counter.put("greedy", fetch(offset))
    counter.put("calm", fetch(7))
    taken = [counter.take(0.0) for _ in range(5)]
    assert taken == [("greedy", fetch(0)), ("calm", fetch(7)), ("greedy", fetch(1)), ("greedy", fetch(2)), None]


def test_few_requests_of_a_node_wait_and_few_nodes() -> None:
    counter = Counter()
    for offset in range(10):
        counter.put("greedy", fetch(offset))
    assert (len(counter), counter.refused) == (4, 6)
    assert not counter.has_room("greedy")
    for number in range(100):
        counter.put(f"node-{number}", fetch(0))
    assert len(counter) == 4 + 63
    assert counter.has_room("node-5")
    assert not counter.has_room("node-99")


@pytest.mark.parametrize(("rate", "value"), [("0", 0), ("64K", 65_536), ("2M", 2 * 2**20)])
def test_a_rate(rate: str, value: int) -> None:
    assert HubSettings(delivery_rate=rate).delivery_bytes_per_s == value


@pytest.mark.parametrize("rate", ["1", "2G", "fast"])
def test_a_rate_that_is_none(rate: str) -> None:
    with pytest.raises(SettingsError):
        HubSettings(delivery_rate=rate)
