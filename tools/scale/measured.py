"""What forwards, messages and the way cost on this machine, and what a real hub with emulated devices makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from hub.engine.forward_time import ForwardTime
from hub.model.target import Target
from tools.bench.bare import bare_seconds
from tools.bench.site import MIDDLE, Load, Rig, Site
from tools.rig.fleet import Drafting
from tools.scale.simulation import Costs, Habits, simulate

_ROWS = (1, 2, 4, 8, 16)  # of the forwards that are measured alone
_ROUNDS = 24  # of each session
_LEAST_WAY_S = 3e-4  # of a message over a broker on the same machine
CALIBRATED = (1, 8)  # sessions from which is learnt what there is beside forwards; all others are predicted

Loads = dict[int, Load]


def forward_costs(target: Target, habits: Habits) -> Costs:
    """Seconds of forwards over rows in the middle of an answer, with and without drafted tokens."""
    learnt = ForwardTime()
    for rows in _ROWS:
        for fed in (1, 1 + habits.length):
            seconds = bare_seconds(target, [(MIDDLE, fed)] * rows, times=3)
            for _ in range(20):  # what was believed before counts no longer
                learnt.learn(rows, rows * fed, seconds)
    fixed = learnt.fixed
    row = learnt.estimate(2, 2) - learnt.estimate(1, 2)
    return Costs(fixed, row, learnt.token)


def run_real(rig: Rig, habits: Habits, sessions: Sequence[int], tell: Callable[[int], object]) -> Loads:
    """Each number of sessions at a real hub, speculating."""
    drafting = Drafting(habits.acceptance, habits.length, 1e3 * habits.draft_s)

    def measure(site: Site) -> Loads:
        loads = {}
        for count in sessions:
            tell(count)
            site.hold(count)
            loads[count] = site.measure(drafting, _ROUNDS)
        return loads

    return rig.at_site(measure)


def calibrated(costs: Costs, habits: Habits, loads: Loads) -> Costs:
    """`costs` as one session and eight show them: what forwards take in the hub, and beside them a step, a message and the way."""
    few, many = (loads[count] for count in CALIBRATED)
    rows = many.rows_per_forward - few.rows_per_forward
    beside = [load.step_s * (1 - load.forward_share) for load in (few, many)]
    message_s = max(0.0, (beside[1] - beside[0]) / rows)
    step_s = max(0.0, beside[0] - message_s * few.rows_per_forward)
    # What forwards take beside all else on the machine: the share of a row and of a token is as it was alone.
    alone = [costs.row_s * load.rows_per_forward + costs.token_s * load.ids_per_forward for load in (few, many)]
    seen = [load.step_s * load.forward_share for load in (few, many)]
    slower = max(0.0, (seen[1] - seen[0]) / (alone[1] - alone[0]))
    fixed_s = max(0.0, seen[0] - slower * alone[0])
    inside = Costs(fixed_s, slower * costs.row_s, slower * costs.token_s, step_s, message_s)
    # What is left of a lone session's round is the way, there and back.
    low, high = _LEAST_WAY_S, 1.0
    goal = few.tokens_per_s
    for _ in range(20):
        middle = (low + high) / 2
        rate = simulate(_with_way(inside, middle), habits, 1, seconds=60.0).tokens_per_s
        low, high = (middle, high) if rate > goal else (low, middle)
    return _with_way(inside, low)


def _with_way(costs: Costs, way_s: float) -> Costs:
    return Costs(costs.fixed_s, costs.row_s, costs.token_s, costs.step_s, costs.message_s, way_s)


def sessions_held(rates: dict[int, float], goal: float) -> float:
    """How many sessions have `goal` tokens per second each, by what was seen at some numbers of them: between two of them in proportion."""
    seen = sorted(rates.items())
    for (few, fast), (many, slow) in pairwise(seen):
        if fast >= goal > slow:
            return few + (many - few) * (fast - goal) / (fast - slow)
    return float(seen[-1][0] if seen[-1][1] >= goal else seen[0][0])


def load_target(rig: Rig) -> Target:
    """The rig's target, in this process."""
    return rig.load(Target)
