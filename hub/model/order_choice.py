"""The choice between torch's products, whose bits may move with the number of rows, and those of a fixed order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hub.settings import Exact
from shared.errors import SettingsError

if TYPE_CHECKING:
    from hub.model.fixed_order import FixedOrder

log = logging.getLogger(__name__)

_WORTH = 1.1  # times as long as with torch's products a step may take at most


def fixed_order(
    exact: Exact, *, moves: Callable[[], bool], seconds: Callable[[], Sequence[float]], key: str = "CUDA"
) -> FixedOrder | None:
    """A fixed order, at work until it is closed, on the devices that torch's dispatcher knows by `key`; None where torch's stays.

    `moves` tries whether the bits of a row's logits depend on the number of rows, `seconds` what steps of some numbers of rows take; both
    with the products that are at work at that time. Raises SettingsError where `exact` is ALWAYS and the kernels don't run here.
    """
    if exact is Exact.OFF or (exact is Exact.AUTO and not moves()):
        return None
    torchs = seconds()
    order = None
    try:
        from hub.model.fixed_order import FixedOrder  # needs Triton, which comes with torch for CUDA

        order = FixedOrder(key)
        fixed = seconds()
        helps = exact is Exact.ALWAYS or not moves()
    except Exception as error:
        # Triton wants a C compiler and a GPU that it knows, and fails in many ways without.
        if order is not None:
            order.close()
        if exact is Exact.ALWAYS:
            raise SettingsError(
                f"the products of fixed order that exact = always asks for do not run here ({error}); use exact = auto or off"
            ) from error
        log.warning("products keep torch's order of sums, since those of fixed order do not run here: %s", error)
        return None
    cost = max((ours / theirs for ours, theirs in zip(fixed, torchs, strict=True)), default=1.0)
    log.info("a step takes up to %.2f times as long with products of fixed order", cost)
    if exact is Exact.ALWAYS or (helps and cost <= _WORTH):
        return order
    order.close()
    if helps:
        log.warning(
            "products keep torch's order of sums: with a fixed one a step takes up to %.2f times as long; --exact always takes it",
            cost,
        )
    return None
