"""Linear layers of whole numbers: near what they were rounded from, and a row's sums the same in every batch, packed and joined."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from typing import TypeVar

import pytest
import torch
from torch import nn

from hub.model import packing
from hub.model.int4 import BLOCK, Int4Linear
from hub.model.int8 import Int8Linear, IntegerLinear, Packed
from hub.model.joined import Joined, JoinedPart, join_layers
from hub.model.linear import linear_bytes, replace_linear
from hub.model.packing import pack_layers

# Some processors, those with AVX2 alone, cut sums of pairs off: there layers are not packed.
PACKS = packing._sums_are_right(208, 96)
COUNTS = (1, 2, 3, 8, 17, 33, 64)
AnyKind = TypeVar("AnyKind", Int8Linear, Int4Linear)


@pytest.fixture
def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(96, 200)


def alone(kind: type[AnyKind], linear: nn.Linear) -> AnyKind:
    """The layer, rounded to that kind."""
    bias = None if linear.bias is None else linear.bias.detach()
    made = kind.made_of(kind.rounded_parts(linear.weight.detach()), bias)
    assert isinstance(made, kind)
    return made


def packed(layer: Int8Linear) -> Int8Linear:
    layer.pack(Packed(layer.in_int8()))
    return layer


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_packed_or_not_a_row_gets_the_same_bits_beside_any_others(linear: nn.Linear, dtype: torch.dtype) -> None:
    layers = [alone(Int8Linear, linear), *([packed(alone(Int8Linear, linear))] if PACKS else [])]
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
    for layer in (alone(Int8Linear, linear), packed(alone(Int8Linear, linear))):
        x = torch.randn(5, 96)
        right = layer(x)
        x[1, 3], x[3] = float("nan"), float("inf")
        got = layer(x)
        assert not got[[1, 3]].isfinite().any()
        assert torch.equal(got[[0, 2, 4]], right[[0, 2, 4]])


def test_a_row_of_zeros_gives_the_bias(linear: nn.Linear) -> None:
    for layer in (alone(Int8Linear, linear), packed(alone(Int8Linear, linear))):
        assert torch.equal(layer(torch.zeros(2, 96)), linear.bias.detach().expand(2, -1))


@pytest.mark.parametrize(("took", "stays"), [(0.5, False), (1.5, True)])
def test_layers_in_int8_are_packed_where_that_is_faster(
    monkeypatch: pytest.MonkeyPatch, took: float, stays: bool
) -> None:
    own = Int8Linear.product
    monkeypatch.setattr(
        packing, "_seconds", lambda product, *_: 1.0 if product.__qualname__ == own.__qualname__ else took
    )
    layer = alone(Int8Linear, nn.Linear(96, 208))
    pack_layers([layer], 0)
    assert hasattr(layer, "weight") == (stays or not PACKS)


@pytest.mark.parametrize("room", [0, 1 << 30])
def test_layers_in_int4_are_in_int8_too_where_there_is_room(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """On a machine where 4 bits are faster up to three rows."""
    monkeypatch.setattr(
        packing,
        "_seconds",
        lambda product, rows, _: len(rows) if product.__qualname__ == Int4Linear.product.__qualname__ else 3.5,
    )
    layer = alone(Int4Linear, nn.Linear(96, 208))
    pack_layers([layer], room)
    assert not hasattr(layer, "q")
    assert (layer.few, layer._packed is None) == ((3, False) if room and PACKS else (0, True))


class _CutOff(Packed):
    """On a processor whose instruction cuts sums of pairs off."""

    def product(self, rows: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        return super().product(rows, scale, dtype).clamp_max(20_000.0)


class _Missing(Packed):
    def __init__(self, weight: torch.Tensor) -> None:
        raise RuntimeError("this build of torch has no oneDNN")


@pytest.mark.parametrize("kind", [_CutOff, _Missing])
def test_layers_stay_as_they_are_where_packing_is_wrong_or_fails(
    monkeypatch: pytest.MonkeyPatch, kind: type[Packed]
) -> None:
    monkeypatch.setattr(packing, "_seconds", lambda product, *_: 1.0 if "lambda" not in product.__qualname__ else 0.5)
    monkeypatch.setattr(packing, "Packed", kind)
    layer = alone(Int8Linear, nn.Linear(96, 208))
    pack_layers([layer], 0)
    assert hasattr(layer, "weight")


@pytest.mark.parametrize(("size", "out"), [(96, 208), (5632, 16)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_in_4_bits_both_products_give_a_row_the_same_bits(size: int, out: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(size, out)
    layer, wide = alone(Int4Linear, linear), alone(Int4Linear, linear)
    assert 0.5 <= layer.weight_bytes / linear.weight.numel() <= 0.65
    wide.pack(Packed(wide.in_int8()))
    wide.few = 2
    x = torch.randn(64, size).to(dtype)
    x[5], x[6, 1] = 0.0, 1e4  # one number beside which the others are small
    whole = layer(x)
    expected = linear(x.float()).detach()
    assert float((whole.float() - expected)[7:].std()) < 0.1 * float(expected[7:].std())
    assert torch.equal(whole[5].float(), linear.bias.detach().to(dtype).float())
    for count in COUNTS:
        assert torch.equal(wide(x[:count]), whole[:count]), count
        assert torch.equal(layer(x[-count:]), whole[-count:]), count


def test_in_4_bits_no_sum_is_more_than_float32_holds() -> None:
    """Where all weights and numbers of a row are as large as they may be, and as many."""
    linear = nn.Linear(16384, 16, bias=False)
    nn.init.constant_(linear.weight, 0.5)
    with torch.no_grad():
        linear.weight[:, ::3] = 0.497
    few, wide = alone(Int4Linear, linear), alone(Int4Linear, linear)
    wide.pack(Packed(wide.in_int8()))
    assert few.most < 127
    x = torch.full((5, 16384), 0.8)
    x[1:3, ::2] = 0.793
    assert torch.equal(few(x), wide(x))
    assert float((few(x) - linear(x).detach()).norm() / linear(x).detach().norm()) < 0.01


def test_in_4_bits_weights_are_nearer_than_by_blocks_around_zero() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(512, 64, bias=False)
    weight = linear.weight.detach()
    nn.init.normal_(weight)
    weight[:, ::97] *= 3
    layer = alone(Int4Linear, linear)
    off = float((layer.in_int8() * layer.scale[:, None] - weight).norm() / weight.norm())
    blocks = weight.view(64, -1, BLOCK)
    step = blocks.abs().amax(-1, keepdim=True) / 7
    assert off < 0.85 * float(((blocks / step).round() * step - blocks).norm() / weight.norm())


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5])
def test_in_4_bits_weights_that_are_all_the_same_are_kept(value: float) -> None:
    linear = nn.Linear(64, 16, bias=False)
    nn.init.constant_(linear.weight, value)
    layer = alone(Int4Linear, linear)
    torch.testing.assert_close(layer.in_int8() * layer.scale[:, None], linear.weight.detach())


def test_layers_that_blocks_do_not_fit_are_in_int8() -> None:
    assert Int4Linear.takes(208, 96)
    assert not Int4Linear.takes(208, 100)
    assert not Int4Linear.takes(200, 96)


class _Attention(nn.Module):
    def __init__(self, *, biases: tuple[bool, bool, bool] = (False, False, False)) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.q_proj = nn.Linear(64, 48, bias=biases[0])
        self.k_proj = nn.Linear(64, 16, bias=biases[1])
        self.v_proj = nn.Linear(64, 16, bias=biases[2])
        self.o_proj = nn.Linear(64, 64)

    @property
    def layers(self) -> list[nn.Module]:
        return [self.q_proj, self.k_proj, self.v_proj]


def rounded(
    kind: type[Int8Linear | Int4Linear] = Int8Linear,
    *,
    joined: bool,
    biases: tuple[bool, bool, bool] = (False, False, False),
) -> _Attention:
    attention = _Attention(biases=biases)

    def made(linears: Sequence[nn.Linear]) -> IntegerLinear:
        parts = kind.rounded_parts(torch.cat([linear.weight.detach() for linear in linears]))
        given = [linear.bias.detach() for linear in linears if linear.bias is not None]
        return kind.made_of(parts, torch.cat(given) if given else None)

    if joined:
        join_layers(attention, made)
    replace_linear(attention, lambda linear: made([linear]))
    return attention


@pytest.mark.parametrize("biases", [(False, False, False), (True, True, True)])
@pytest.mark.parametrize("rows", [1, 2, 40])
@pytest.mark.parametrize("kind", [Int8Linear, Int4Linear])
def test_joined_layers_give_what_each_gave_by_one_product(
    kind: type[Int8Linear | Int4Linear], biases: tuple[bool, bool, bool], rows: int
) -> None:
    apart, joined = rounded(kind, joined=False, biases=biases), rounded(kind, joined=True, biases=biases)
    products = []
    for layer in joined.modules():
        if isinstance(layer, IntegerLinear):
            layer.register_forward_hook(lambda *_: products.append(1))
    for x in (torch.randn(1, rows, 64), torch.randn(1, rows, 64)):
        for ours, theirs in zip(joined.layers, apart.layers, strict=True):
            assert torch.equal(ours(x), theirs(x))
    assert len(products) == 2
    assert linear_bytes(joined) == linear_bytes(apart)


def test_any_order_and_any_other_input_are_right_too() -> None:
    apart, joined = rounded(joined=False), rounded(joined=True)
    x, y = torch.randn(1, 3, 64), torch.randn(1, 3, 64)
    for place, given in ((2, x), (0, x), (0, x), (1, y), (1, x), (2, x), (0, y), (2, y)):
        assert torch.equal(joined.layers[place](given), apart.layers[place](given))


def test_nothing_is_kept_once_all_was_taken() -> None:
    joined = rounded(joined=True)
    x = torch.randn(1, 3, 64)
    given = weakref.ref(x)
    for layer in joined.layers:
        layer(x)
    del x
    gc.collect()
    assert given() is None


def test_layers_that_differ_in_kind_stay_apart() -> None:
    apart = rounded(joined=True, biases=(True, True, False))
    assert not any(isinstance(module, (Joined, JoinedPart)) for module in apart.modules())
