"""An exit says what its head makes of its layer, changes nothing, and what is wrong with its file is told."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from hub import assembly
from hub.engine.forward_time import ForwardTime
from hub.engine.inbox import Arrival
from hub.model.batch import Row, places_wanted
from hub.model.exits import Asked, ExitHead
from hub.model.target import Target
from hub.sessions.session import Limits, SessionKey
from hub.settings import Exits, HubSettings
from shared.errors import PairError
from shared.messages import AnyMessage, Draft, Early, Open, Opened, Verdict
from tests import models

CPU = torch.device("cpu")
TEXT = tuple(range(5, 25))


def load(checkpoint: str, head: Path | None) -> Target:
    return Target(checkpoint, device=CPU, dtype=torch.float32, kv_memory=1 << 20, exit_head=head)


def rows_of(target: Target) -> list[Row]:
    """A prompt of which nothing is wanted, a block, and a single id."""
    rows = []
    for wanted in (0, 5, 1):
        pages: list[int] = []
        target.pool.grow(pages, len(TEXT))
        rows.append(Row(pages, 0, TEXT, wanted))
    return rows


@pytest.fixture
def head(tmp_path: Path) -> Path:
    models.exit_head().save(tmp_path / "exit.safetensors")
    return tmp_path / "exit.safetensors"


@pytest.fixture(params=["llama", "qwen2"])
def model(request: pytest.FixtureRequest) -> Any:
    return getattr(models, request.param)()


def test_what_is_asked_is_told_and_the_forward_is_the_same(model: Any, head: Path, tmp_path: Path) -> None:
    checkpoint = models.save(model, tmp_path)
    target = load(checkpoint, head)
    assert target.exit_rest == 0.5
    rows = rows_of(target)
    told: list[torch.Tensor] = []
    places = places_wanted(rows, lambda row: row.verifies)
    assert places == [35, 36, 37, 38, 39]
    logits = target.compute(target.prepare(rows), Asked(places, lambda said: told.append(said.clone())))
    states = model(torch.tensor([TEXT]), output_hidden_states=True).hidden_states[1][0, -5:]
    torch.testing.assert_close(told[0], model.lm_head(ExitHead.load(head)(states)), atol=2e-4, rtol=1e-4)
    assert logits.equal(target.compute(target.prepare(rows)))
    assert logits.equal(load(checkpoint, None).forward(rows))
    assert len(told) == 1, "only who asks is told"


def test_an_exit_that_fails_does_not_disturb_the_forward(
    model: Any, head: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = load(models.save(model, tmp_path), head)
    rows = rows_of(target)
    calls: list[int] = []

    def fail(logits: torch.Tensor) -> None:
        calls.append(len(logits))
        raise RuntimeError("no room on the wire")

    expected = target.forward(rows).clone()
    for _ in range(2):
        assert target.compute(target.prepare(rows), Asked([0], fail)).equal(expected)
    assert calls == [1]
    assert "no early verdicts from now on" in caplog.text


@pytest.mark.parametrize(
    ("exits", "forward_s", "is_graphed", "sent"),
    [
        (Exits.ALWAYS, 1e-6, False, True),
        (Exits.ALWAYS, 1.0, True, True),
        (Exits.AUTO, 1.0, False, True),
        (Exits.AUTO, 1e-6, False, False),  # the verdict comes as soon
        (Exits.AUTO, 1.0, True, False),  # graphs run to their end
    ],
)
def test_early_verdicts_are_sent_where_they_can_be_of_use(
    model: Any,
    head: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exits: Exits,
    forward_s: float,
    is_graphed: bool,
    sent: bool,
) -> None:
    """A block of two tokens through an engine as a hub assembles it, whose forward is known to take `forward_s`."""
    monkeypatch.setattr(assembly, "measured_forward_time", lambda _: ForwardTime(forward_s, 0.0, 0.0))
    monkeypatch.setattr(Target, "is_graphed", is_graphed)
    target = load(models.save(model, tmp_path), head)
    published: list[AnyMessage] = []
    engine = assembly.assemble(
        target,
        Limits(target.context, target.vocab_size, frozenset(), 8),
        HubSettings(exits=exits),
        group=lambda _: None,
        answer_open=lambda m: Opened(m.session, "tiny", target.context, 8, (), 0.0, 0, 1.0),
        publish=lambda key, message: published.append(message),
    )
    key = SessionKey("node", bytes(16))
    for message in (Open(key.id, "tiny", bytes(16)), Draft(1, 0, 0, (7, 8), 0, (5, 6))):
        engine.submit(Arrival.of(key, message, time.monotonic()))
    while not isinstance(published[-1] if published else None, Verdict):
        engine.step()
    assert [type(message) for message in published] == [Opened, *([Early] if sent else []), Verdict]


def test_a_head_is_what_was_saved_up_to_rounding(head: Path) -> None:
    saved, loaded = models.exit_head(), ExitHead.load(head)
    assert loaded.layer == 1
    x = torch.randn(7, 64)
    torch.testing.assert_close(loaded(x), saved(x), atol=0.05, rtol=0.02)


def test_a_broken_file_is_refused(head: Path, tmp_path: Path) -> None:
    checkpoint = models.save(models.llama(), tmp_path)
    tensors = load_file(head)
    other = tmp_path / "other.safetensors"
    for broken, metadata in (
        ({name: t for name, t in tensors.items() if name != "norm.weight"}, {"layer": "1"}),
        ({**tensors, "up.bias": tensors["up.bias"][:-1].clone()}, {"layer": "1"}),
        (tensors, {"layer": "first"}),
        (tensors, {}),
    ):
        save_file(broken, other, metadata=metadata)
        with pytest.raises(PairError, match="is no exit head.*tools.exits"):
            load(checkpoint, other)
    for content in (b"", b"not a safetensors file"):
        other.write_bytes(content)
        with pytest.raises(PairError, match="is no exit head"):
            load(checkpoint, other)
    with pytest.raises(PairError, match="is no exit head"):
        load(checkpoint, tmp_path / "nothing")


@pytest.mark.parametrize(("layer", "size", "says"), [(2, 64, "layer 2.*has 2"), (1, 32, "32 numbers.*has 64")])
def test_a_head_of_another_target_is_refused(tmp_path: Path, layer: int, size: int, says: str) -> None:
    checkpoint = models.save(models.llama(), tmp_path)
    models.exit_head(layer, size).save(tmp_path / "exit.safetensors")
    with pytest.raises(PairError, match=says):
        load(checkpoint, tmp_path / "exit.safetensors")


def test_a_target_without_a_list_of_layers_is_refused(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    from hub.model.exits import Exit

    model = GPT2LMHeadModel(GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=models.VOCAB))
    with pytest.raises(PairError, match="has 0"):
        Exit(model, models.exit_head())
