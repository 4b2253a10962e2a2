"""Torch's products and sums replaced by those of fixed order, on a CPU's key, where the kernels run in Triton's interpreter."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from hub.model import row_trial
from hub.model.attention import NAME
from hub.model.order_choice import fixed_order
from hub.model.row_trial import bits_move
from hub.model.self_check import SelfCheck
from hub.model.target import Target
from hub.settings import Exact
from shared.errors import SettingsError
from tests import models
from tools.rig.planted import PlantedTarget

pytest.importorskip("triton", reason="Triton comes with torch for CUDA; `pip install triton` runs this without a GPU")
if torch.cuda.is_available():
    pytest.skip("the kernels run on the GPU that is here, not on a CPU", allow_module_level=True)

from hub.model import fixed_order as module
from hub.model.fixed_order import FixedOrder
from hub.model.row_kernels import product

CPU = torch.device("cpu")
TEXT = range(20)


@pytest.fixture
def order() -> Iterator[FixedOrder]:
    order = FixedOrder("CPU")
    yield order
    order.close()


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A target with layers so small that torch multiplies, as on a GPU, and pages for few rows."""
    monkeypatch.setattr(row_trial, "_COUNTS", (1, 5, 33))
    return Target(models.save(models.llama(), tmp_path), device=CPU, dtype=torch.float32, kv_memory=1 << 20)


@pytest.fixture
def torchs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """The same, and torch multiplies on every processor: on some the hub has such small layers packed too."""
    monkeypatch.setattr(row_trial, "_COUNTS", (1, 5, 33))
    folder = models.save(models.llama(), tmp_path)
    planted = PlantedTarget(folder, device=CPU, dtype=torch.float32, kv_memory=1 << 20)
    planted.plant(folder)
    return planted


def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


OPERATORS: list[Callable[[], torch.Tensor]] = [
    lambda: torch.nn.functional.linear(numbers(1, 5, 24), numbers(8, 24)),
    lambda: torch.nn.functional.linear(numbers(1, 5, 24), numbers(8, 24), numbers(8)),
    lambda: torch.addmm(numbers(8), numbers(5, 24), numbers(24, 8)),
    lambda: numbers(3, 5, 24) @ numbers(3, 24, 8),
    lambda: numbers(3, 5, 24).mean(-1, keepdim=True),
    lambda: numbers(3, 5, 24, dtype=torch.float16).mean(2, dtype=torch.float32),
    lambda: numbers(3, 5, 24).sum(-1),
    lambda: numbers(3, 5, 24).transpose(1, 2).sum(-1, keepdim=True),
]
OTHERS: list[Callable[[], torch.Tensor]] = [
    lambda: numbers(5, 24, dtype=torch.float64) @ numbers(24, 8, dtype=torch.float64),
    lambda: torch.addmm(numbers(8), numbers(5, 24), numbers(24, 8), beta=0.5),
    lambda: torch.bmm(numbers(3, 5, 24).double(), numbers(3, 24, 8).double()),
    lambda: numbers(3, 5, 24).mean(0),
    lambda: numbers(3, 5, 24).mean(),
    lambda: numbers(3, 5, 24).sum((0, 1)),
    lambda: torch.arange(12).view(3, 4).sum(-1),
    lambda: (numbers(3, 4) > 0).sum(-1, keepdim=True),
    lambda: numbers(3, 0).sum(-1),
]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The kernels that ran, in order, from here on."""
    ran: list[Any] = []

    def recorded(kernel: Any) -> Any:
        def run(*given: Any, **named: Any) -> Any:
            ran.append(kernel)
            return kernel(*given, **named)

        return run

    for name in ("product", "row_sum"):
        monkeypatch.setattr(module, name, recorded(getattr(module, name)))
    return ran


def test_operators_of_layers_run_on_the_kernels_and_others_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = [operator() for operator in (*OPERATORS, *OTHERS)]
    ran = counted(monkeypatch)
    order = FixedOrder("CPU")
    for at, operator in enumerate((*OPERATORS, *OTHERS)):
        ran.clear()
        torch.testing.assert_close(operator(), plain[at], atol=1e-5, rtol=1e-5)
        assert len(ran) == (at < len(OPERATORS)), at
    order.close()
    ran.clear()
    assert OPERATORS[0]().equal(plain[0])
    assert not ran


@pytest.mark.usefixtures("order")
def test_what_torch_refuses_is_refused_as_before() -> None:
    for x, y in ((numbers(5, 24), numbers(23, 8)), (numbers(3, 5, 24), numbers(2, 24, 8))):
        with pytest.raises(RuntimeError, match="size|shape|dim"):
            torch.mm(x, y) if x.ndim == 2 else torch.bmm(x, y)


def test_a_target_is_computed_on_them_and_its_bits_stay(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_trial, "_TIMES", 1)
    monkeypatch.setattr(row_trial, "STEPS", (2,))
    ran = counted(monkeypatch)
    seconds = target._step_seconds
    assert len(seconds()) == 1
    assert not ran
    order = fixed_order(Exact.ALWAYS, moves=lambda: True, seconds=seconds, key="CPU")
    assert order
    assert {kernel.__name__ for kernel in ran} == {"product", "row_sum"}
    assert not bits_move(target, TEXT, 600)
    order.close()


def test_what_is_said_of_a_target_is_what_trying_shows(target: Target) -> None:
    check = SelfCheck(target._model, NAME, target.context, rounded=False)
    assert target.is_exact is not target._bits_move(check)


def test_a_kernel_that_follows_the_number_of_rows_moves_a_targets_bits(
    torchs: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    def split(x: torch.Tensor, y: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        if x.shape[1] != 5:
            return product(x, y, bias)
        return product(x[..., :40], y[:, :40], bias) + product(x[..., 40:], y[:, 40:])

    monkeypatch.setattr(module, "product", split)
    with closing(FixedOrder("CPU")):
        assert bits_move(torchs, TEXT, 600)


def choice(exact: Exact, moves: list[bool], seconds: list[list[float]]) -> tuple[bool, int]:
    """Whether the kernels are taken, and how many of the answers to both questions are left; they are closed again."""
    order = fixed_order(exact, moves=partial(moves.pop, 0), seconds=partial(seconds.pop, 0), key="CPU")
    if order:
        order.close()
    return order is not None, len(moves) + len(seconds)


@pytest.mark.parametrize(("exact", "moves", "seconds", "taken"), [
    (Exact.OFF, [], [], False),
    (Exact.AUTO, [False], [], False),
    (Exact.AUTO, [True, False], [[1.0, 2.0], [1.1, 1.0]], True),
    (Exact.AUTO, [True, False], [[1.0, 2.0], [1.0, 2.3]], False),
    (Exact.AUTO, [True, True], [[1.0], [1.0]], False),
    (Exact.ALWAYS, [], [[1.0], [9.0]], True),
])  # fmt: skip
def test_the_choice(exact: Exact, moves: list[bool], seconds: list[list[float]], taken: bool) -> None:
    assert choice(exact, moves, seconds) == (taken, 0)


def test_what_is_not_taken_is_said_with_its_cost(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        choice(Exact.AUTO, [True, False], [[1.0, 2.0], [1.0, 3.0]])
    assert "up to 1.50 times as long; --exact always takes it" in caplog.text


def test_kernels_that_do_not_run_are_not_taken(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = torch.ones(2, 2) @ torch.ones(2, 2)

    def broken(*_: object) -> torch.Tensor:
        raise RuntimeError("Failed to find C compiler")

    def seconds() -> list[float]:
        return [float((torch.ones(2, 2) @ torch.ones(2, 2)).sum())]

    monkeypatch.setattr(module, "product", broken)
    with caplog.at_level(logging.WARNING):
        assert fixed_order(Exact.AUTO, moves=lambda: True, seconds=seconds, key="CPU") is None
    assert "do not run here: Failed to find C compiler" in caplog.text
    with pytest.raises(SettingsError, match=r"do not run here \(Failed to find C compiler\); use exact = auto or off"):
        fixed_order(Exact.ALWAYS, moves=lambda: True, seconds=seconds, key="CPU")
    assert plain.equal(torch.ones(2, 2) @ torch.ones(2, 2)), "torch's own again"
