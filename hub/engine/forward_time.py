"""How long a forward takes as a function of its rows and tokens, learnt from the forwards themselves."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from shared.running_mean import RunningMean

_SHAPES = 64  # shapes (rows, tokens) that are remembered, those that were seen last
_RATE = 0.2  # weight of a new measurement in the mean of its shape
_FADING = 0.99  # factor on the weight of all other shapes at each measurement
_LEAST_S = 1e-6  # seconds; no forward is believed to take less
_FIRM = 1e-3  # weight of what was believed before against one measurement


class ForwardTime:
    """seconds ≈ fixed + row · rows + token · tokens, none of them negative; fitted by least relative squares.

    A hub sees few shapes for long: what they leave open (is it rows or tokens that cost?) stays as it was believed.
    """

    def __init__(self, fixed: float = 10e-3, row: float = 0.1e-3, token: float = 0.2e-3) -> None:
        self._believed: tuple[float, float, float] = (fixed, row, token)
        # By shape, seen last at the end: the mean of its seconds, and the number of its last measurement.
        self._seen: OrderedDict[tuple[int, int], tuple[RunningMean, int]] = OrderedDict()
        self._count = 0

    @property
    def fixed(self) -> float:
        """Seconds that a forward takes whatever is in it: what sharing it saves."""
        return self._believed[0]

    @property
    def token(self) -> float:
        """Seconds of one more token."""
        return self._believed[2]

    def estimate(self, rows: int, tokens: int) -> float:
        """Seconds of a forward of that many rows and tokens."""
        fixed, row, token = self._believed
        return max(fixed + row * rows + token * tokens, _LEAST_S)

    def learn(self, rows: int, tokens: int, seconds: float) -> None:
        """Take in a measured forward."""
        self._count += 1
        mean, _ = self._seen.pop((rows, tokens), (RunningMean(rate=_RATE), 0))
        mean.add(seconds)
        self._seen[rows, tokens] = mean, self._count
        if len(self._seen) > _SHAPES:
            self._seen.popitem(last=False)
        self._fit()

    def _fit(self) -> None:
        times, numbers = np.array([(mean.value, number) for mean, number in self._seen.values()]).T
        shapes = np.array([(1, rows, tokens) for rows, tokens in self._seen], dtype=np.float64)
        weights = _FADING ** (self._count - numbers)
        scale = np.maximum(self._believed, 1e-6)
        firm = np.sqrt(_FIRM)
        system = np.concatenate([shapes * scale * (weights / times)[:, None], firm * np.eye(3)])
        wanted = np.concatenate([weights, np.full(3, firm)])
        free = [0, 1, 2]
        while free:
            found = np.linalg.lstsq(system[:, free], wanted, rcond=None)[0]
            if found.min() >= 0:
                break
            free.pop(int(found.argmin()))
        fitted = np.zeros(3)
        fitted[free] = found * scale[free]
        fixed, row, token = fitted.tolist()
        self._believed = fixed, row, token
