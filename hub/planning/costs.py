"""What a draft's layers, its head and its embedding cost on a device: seconds for each token, and bytes in the file."""

from __future__ import annotations

from typing import Any

from hub.export.layers import layers_of, linears_of, weight_of
from hub.export.rounded import stored_bits
from hub.export.sensitivity import OUT
from hub.planning.program import Choice
from shared.device_profile import DeviceProfile

_FLOAT = 4  # bytes


class Costs:
    """The costs of a model's parts on a device."""

    def __init__(self, model: Any, profile: DeviceProfile) -> None:
        """Only shapes are read from the model."""
        self._profile = profile
        layers = layers_of(model)
        self._shapes: list[list[tuple[int, int]]] = [
            [_shape(weight_of(linear)) for linear in linears_of(layer)] for layer in layers
        ]
        head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
        self.vocabulary_shape = _shape(head.weight)
        self._tied = head.weight is embedding.weight
        kept = {id(linear.weight) for layer in layers for linear in linears_of(layer)} | {
            id(head.weight),
            id(embedding.weight),
        }
        self._rest = _FLOAT * sum(p.numel() for p in model.parameters() if id(p) not in kept)

    @property
    def bits(self) -> tuple[int, ...]:
        """Bits that the device multiplies by, the most first."""
        return tuple(sorted(self._profile.weights_per_s, reverse=True))

    def weights_of(self, place: int) -> int:
        """How many weights the layer at that place multiplies by."""
        return sum(out * width for out, width in self._shapes[place])

    def layer(self, place: int, bits: int, divergence: float) -> Choice:
        """The layer at that place in so many bits, or OUT."""
        if bits == OUT:
            return Choice(divergence, 0.0, 0)
        shapes = self._shapes[place]
        seconds = self.weights_of(place) / self._profile.weights_per_s[bits]
        size = sum(out * stored_bits(width, bits, offsets=True) for out, width in shapes) // 8
        return Choice(divergence, seconds + self._profile.layer_s, size)

    def vocabulary(self, bits: int, ids: int | None, divergence: float) -> Choice:
        """Head and embedding in so many bits; the head of all ids shares the embedding's numbers where the model ties them."""
        count, width = self.vocabulary_shape
        head = count if ids is None else ids
        of_one = stored_bits(width, bits, offsets=False) // 8
        size = count * of_one
        if ids is not None or not self._tied:
            size += head * of_one
        return Choice(divergence, head * width / self._profile.weights_per_s[bits], size + self._rest)


def _shape(weight: Any) -> tuple[int, int]:
    out, width = weight.shape
    return out, width
