"""Linear layers in int8: near the layer they were rounded from, and a row's sums the same in every batch, packed and joined."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn

from hub.model import int8
from hub.model.int8 import Int8Linear, pack_where_faster
from hub.model.joined import Joined, JoinedPart, join_layers
from hub.model.linear import linear_bytes, replace_linear

COUNTS = (1, 2, 3, 8, 17, 33, 64)


@pytest.fixture
def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(96, 200)


def packed(layer: Int8Linear) -> Int8Linear:
    with torch.inference_mode():
        layer.pack()
    return layer


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_packed_or_not_a_row_gets_the_same_bits_beside_any_others(linear: nn.Linear, dtype: torch.dtype) -> None:
    layers = Int8Linear.rounded(linear), packed(Int8Linear.rounded(linear))
    x = torch.randn(1, 64, 96).to(dtype)
    whole = layers[0](x)
    expected = linear(x.float()).detach()
    assert float((whole.float() - expected).std()) < 0.02 * float(expected.std())
    for layer in layers:
        assert layer(x[:, :0]).shape == (1, 0, 200)
        for count in COUNTS:
            assert torch.equal(layer(x[:, :count]), whole[:, :count]), count
            assert torch.equal(layer(x[:, -count:]), whole[:, -count:]), count


def test_a_row_without_numbers_keeps_that_to_itself(linear: nn.Linear) -> None:
    for layer in (Int8Linear.rounded(linear), packed(Int8Linear.rounded(linear))):
        x = torch.randn(5, 96)
        right = layer(x)
        x[1, 3], x[3] = float("nan"), float("inf")
        got = layer(x)
        assert not got[[1, 3]].isfinite().any()
        assert torch.equal(got[[0, 2, 4]], right[[0, 2, 4]])


def test_a_row_of_zeros_gives_the_bias(linear: nn.Linear) -> None:
    for layer in (Int8Linear.rounded(linear), packed(Int8Linear.rounded(linear))):
        assert torch.equal(layer(torch.zeros(2, 96)), linear.bias.detach().expand(2, -1))


@pytest.mark.parametrize(("saved", "helps"), [(0.5, True), (1.5, False)])
def test_layers_are_packed_where_that_is_faster(
    linear: nn.Linear, monkeypatch: pytest.MonkeyPatch, saved: float, helps: bool
) -> None:
    monkeypatch.setattr(int8, "_seconds", lambda layer, _: 1.0 if hasattr(layer, "weight") else saved)
    layer = Int8Linear.rounded(linear)
    pack_where_faster([layer])
    assert hasattr(layer, "weight") != helps


class _Wraps(Int8Linear):
    """On a processor whose instruction cuts sums of pairs off."""

    def product(self, rows: torch.Tensor) -> torch.Tensor:
        return super().product(rows) if hasattr(self, "weight") else super().product(rows).clamp_max(20_000.0)


class _Unpackable(Int8Linear):
    def pack(self) -> None:
        raise RuntimeError("this build of torch has no oneDNN")


@pytest.mark.parametrize("kind", [_Wraps, _Unpackable])
def test_layers_stay_as_they_are_where_packing_is_wrong_or_fails(
    linear: nn.Linear, monkeypatch: pytest.MonkeyPatch, kind: type[Int8Linear]
) -> None:
    monkeypatch.setattr(int8, "_seconds", lambda *_: 1.0)
    monkeypatch.setattr(int8, "Int8Linear", kind)
    layer = Int8Linear.rounded(linear)
    pack_where_faster([layer])
    assert hasattr(layer, "weight")


class _Attention(nn.Module):
    def __init__(self, *, biases: tuple[bool, bool, bool] = (False, False, False)) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.q_proj = nn.Linear(48, 64, bias=biases[0])
        self.k_proj = nn.Linear(48, 16, bias=biases[1])
        self.v_proj = nn.Linear(48, 16, bias=biases[2])
        self.o_proj = nn.Linear(64, 48)

    @property
    def layers(self) -> list[nn.Module]:
        return [self.q_proj, self.k_proj, self.v_proj]


def rounded(*, joined: bool, biases: tuple[bool, bool, bool] = (False, False, False)) -> _Attention:
    attention = _Attention(biases=biases)
    replace_linear(attention, Int8Linear.rounded)
    if joined:
        join_layers(attention)
    return attention


@pytest.mark.parametrize("biases", [(False, False, False), (True, True, True)])
@pytest.mark.parametrize("rows", [1, 2, 40])
def test_joined_layers_give_what_each_gave_by_one_product(biases: tuple[bool, bool, bool], rows: int) -> None:
    alone, joined = rounded(joined=False, biases=biases), rounded(joined=True, biases=biases)
    products = []
    for layer in joined.modules():
        if isinstance(layer, Int8Linear):
            layer.register_forward_hook(lambda *_: products.append(1))
    for x in (torch.randn(1, rows, 48), torch.randn(1, rows, 48)):
        for ours, theirs in zip(joined.layers, alone.layers, strict=True):
            assert torch.equal(ours(x), theirs(x))
    assert len(products) == 2
    assert linear_bytes(joined) == linear_bytes(alone)


def test_any_order_and_any_other_input_are_right_too() -> None:
    alone, joined = rounded(joined=False), rounded(joined=True)
    x, y = torch.randn(1, 3, 48), torch.randn(1, 3, 48)
    for place, given in ((2, x), (0, x), (0, x), (1, y), (1, x), (2, x), (0, y), (2, y)):
        assert torch.equal(joined.layers[place](given), alone.layers[place](given))


def test_nothing_is_kept_once_all_was_taken() -> None:
    joined = rounded(joined=True)
    x = torch.randn(1, 3, 48)
    given = weakref.ref(x)
    for layer in joined.layers:
        layer(x)
    del x
    gc.collect()
    assert given() is None


def test_layers_that_differ_in_kind_stay_apart() -> None:
    apart = rounded(joined=True, biases=(True, True, False))
    assert not any(isinstance(module, (Joined, JoinedPart)) for module in apart.modules())
