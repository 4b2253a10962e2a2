"""An engine and its parts, from a hub's settings."""

from __future__ import annotations

import math
from collections.abc import Callable

from hub.engine.engine import Engine
from hub.engine.trace import EngineTrace
from hub.engine.tuning import measured_forward_time
from hub.engine.window import Window
from hub.model.target import Target
from hub.sessions.book import SessionBook
from hub.sessions.memory import KVMemory
from hub.sessions.service_classes import ServiceClasses, patterns
from hub.sessions.session import Limits, SessionKey
from hub.settings import Exits, HubSettings
from shared.guide import GuideMaker
from shared.messages import AnyMessage, Fault, Open, Opened
from shared.trace_file import TraceFile

_USEFUL_S = 2e-3  # seconds by which an early verdict must come before its verdict for a node to make use of it


def assemble(
    target: Target,
    limits: Limits,
    settings: HubSettings,
    *,
    group: Callable[[SessionKey], bytes | None],
    answer_open: Callable[[Open], Opened | Fault],
    publish: Callable[[SessionKey, AnyMessage], None],
    guides: GuideMaker | None = None,
    trace: TraceFile | None = None,
) -> Engine:
    """An engine for `target`. Its forward is measured first. `group` goes to KVMemory, the others to Engine."""
    memory = KVMemory(target.pool, target.cache, group)
    classes = ServiceClasses(patterns(settings.voice), patterns(settings.background))
    book = SessionBook(
        limits,
        memory,
        max_sessions=settings.max_sessions,
        max_per_node=settings.max_sessions_per_node,
        ttl_s=settings.session_ttl_s,
        class_of=classes.of,
    )
    return Engine(
        target,
        book,
        memory,
        answer_open=answer_open,
        publish=publish,
        forward_time=measured_forward_time(target),
        window=Window(settings.window_ms / 1e3 or None, settings.due_ms / 1e3),
        budget=settings.budget,
        max_queue=settings.max_queue,
        least_rest_s=_least_rest_s(target, settings.exits),
        guides=guides,
        trace=None if trace is None else EngineTrace(trace),
    )


def _least_rest_s(target: Target, exits: Exits) -> float:
    """Seconds that the rest of a forward must take for early verdicts to be sent; infinite where CUDA graphs run, which they rule out."""
    if exits is Exits.ALWAYS:
        return 0.0
    return math.inf if target.is_graphed else _USEFUL_S
