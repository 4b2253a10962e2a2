"""What is done to an answer that is under way, one trouble at a time, and from when on its next token is waited for."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from enum import Enum

from tools.rig.stage import Stage

_FROZEN_S = (1.0, 4.0)  # seconds for which a hub that is alone stands still, at least and at most
_CUT_S = 1.0
_LONG_CUT_S = 40.0
_DEAD_S = (0.0, 3.0)  # seconds until a broker that was killed is started again, at least and at most


class Trouble(Enum):
    """Each names what happens, and the moment from which the recovery counts."""

    HUB_RESTART = "hub_restart"  # the only hub is killed and started again: from when it says that it is online
    HUB_THAW = "hub_thaw"  # the only hub is frozen: from when it goes on
    BROKER_RESTART = "broker_restart"  # the broker is killed and started again: from when it accepts connections
    LOST_DRAFT = "lost_draft"  # from when it was lost
    LOST_VERDICT = "lost_verdict"  # from when it was lost
    CUT = "cut"  # nothing passes between node and broker for 1 s: from when that ends
    LONG_CUT = "long_cut"  # nothing passes for 40 s
    TAKEOVER_KILL = "takeover_kill"  # one of two hubs is killed: from then
    TAKEOVER_FREEZE = "takeover_freeze"  # one of two hubs is frozen: from then

    @property
    def takes_two_hubs(self) -> bool:
        """Whether another hub is there to take over."""
        return self in (Trouble.TAKEOVER_KILL, Trouble.TAKEOVER_FREEZE)


def make(trouble: Trouble, everybody: Stage, hub: str, rng: random.Random) -> float:
    """Make trouble for an answer whose session is with `hub`; from when on (`time.monotonic`) it may recover.

    Returns when everything that the answer needs is there again. Raises RuntimeError where it does not come.
    """
    return _MAKERS[trouble](everybody, hub, rng)


def _hub_restart(everybody: Stage, hub: str, _: random.Random) -> float:
    everybody.hubs[hub].kill()
    return everybody.start_hub(hub)


def _hub_thaw(everybody: Stage, hub: str, rng: random.Random) -> float:
    everybody.hubs[hub].freeze()
    time.sleep(rng.uniform(*_FROZEN_S))
    everybody.hubs[hub].thaw()
    return time.monotonic()


def _broker_restart(everybody: Stage, _: str, rng: random.Random) -> float:
    everybody.broker.kill()
    time.sleep(rng.uniform(*_DEAD_S))
    return everybody.start_broker()


def _cut(seconds: float) -> Callable[[Stage, str, random.Random], float]:
    # Half of the cuts end the connections, which a node notices, and the others go on where they stopped.
    return lambda everybody, _, rng: everybody.cut(seconds, closes=rng.random() < 0.5)


def _takeover_kill(everybody: Stage, hub: str, _: random.Random) -> float:
    at = time.monotonic()
    everybody.hubs[hub].kill()
    return at


def _takeover_freeze(everybody: Stage, hub: str, _: random.Random) -> float:
    at = time.monotonic()
    everybody.hubs[hub].freeze()
    return at


_MAKERS: dict[Trouble, Callable[[Stage, str, random.Random], float]] = {
    Trouble.HUB_RESTART: _hub_restart,
    Trouble.HUB_THAW: _hub_thaw,
    Trouble.BROKER_RESTART: _broker_restart,
    Trouble.LOST_DRAFT: lambda everybody, _hub, _rng: everybody.lose("draft"),
    Trouble.LOST_VERDICT: lambda everybody, _hub, _rng: everybody.lose("verdict"),
    Trouble.CUT: _cut(_CUT_S),
    Trouble.LONG_CUT: _cut(_LONG_CUT_S),
    Trouble.TAKEOVER_KILL: _takeover_kill,
    Trouble.TAKEOVER_FREEZE: _takeover_freeze,
}
