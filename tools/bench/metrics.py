"""What it costs a busy hub to be scraped: forwards of the target, one behind the other, and a scrape now and then.

The target, the metrics' table and the server are the hub's, in this process; another process asks as Prometheus does. Forwards that a scrape
overlaps are compared with those just before it, so that what else the machine does cancels out, as far as it does not come and go.

    lost_ms              what forwards take longer for a scrape beside them: the median, less that of moments without a scrape
    lost_ms_range        half of the scrapes lie in it
    busy_percent         the same as a share of the time, with one scrape a second and an engine that always computes
    scrape_cpu_ms        processor time of a scrape, while nothing is computed
    scrape_ms            how long it takes for who asks, beside forwards: the median
    scrape_bytes         its size as it is sent, compressed
    forward_ms           of those forwards: the median
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from bisect import bisect
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import pairwise
from typing import Any

from hub.engine.stats import HubStats
from hub.metrics import ROWS
from hub.model.probe_rows import probe_rows
from hub.model.target import Target
from shared.metrics import Facts
from shared.metrics_server import MetricsServer
from tools.bench.capacity import described
from tools.bench.report import quantile, show
from tools.bench.site import Rig

_FED = (1, 1, 4, 4)  # ids of each row: two that stream and two with a block of three
_HELD = 64  # ids before them
_BEFORE_S = 1.0  # seconds before a scrape whose forwards it is compared with
_PAUSE_S = 0.15  # seconds between two scrapes
_ASKING = f"""
import sys, time
from socket import create_connection
port, count = map(int, sys.argv[1:])
time.sleep(2 * {_BEFORE_S})
for _ in range(count):
    time.sleep({_PAUSE_S})
    began, size = time.monotonic(), 0
    with create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(
            b"GET /metrics HTTP/1.1\\r\\nHost: den:9820\\r\\nUser-Agent: Prometheus/2.42.0\\r\\nAccept: application/openmetrics-text;version=1.0.0;"
            b"q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\\r\\nAccept-Encoding: gzip\\r\\nX-Prometheus-Scrape-Timeout-Seconds: 10\\r\\n\\r\\n"
        )
        while piece := connection.recv(65536):
            size += len(piece)
    print(began, time.monotonic(), size, flush=True)
"""

Times = tuple[float, float]  # when something began and ended, by time.monotonic


def run(rig: Rig, scrapes: int, as_json: bool) -> None:
    """Print the figures above."""
    target, stats, others = rig.load(Target), HubStats(), dict.fromkeys(_keys(), 1)
    with closing(MetricsServer("127.0.0.1", 0)) as server:
        server.start(ROWS, lambda: {**others, **stats.as_json()})
        cpu_ms = _cpu_ms(server, scrapes)
        ends: list[float] = []
        with asked(server, scrapes) as process, probe_rows(target.pool, [(_HELD, fed) for fed in _FED]) as rows:
            inputs = target.prepare(rows)
            while process.poll() is None:
                target.compute(inputs)
                ends.append(time.monotonic())
            answers = _answers(process)
    beside = [_lost_ms(ends, (began, ended)) for began, ended, _ in answers]
    without = [_lost_ms(ends, (began - _PAUSE_S / 2, ended - _PAUSE_S / 2)) for began, ended, _ in answers]
    usual = statistics.median(without)
    lost = statistics.median(beside) - usual
    figures: dict[str, Any] = {
        **described(rig),
        "lost_ms": round(lost, 2),
        "lost_ms_range": [round(quantile(beside, share) - usual, 2) for share in (0.25, 0.75)],
        "busy_percent": round(lost / 10, 3),
        "scrape_cpu_ms": round(cpu_ms, 2),
        "scrape_ms": round(1e3 * statistics.median(ended - began for began, ended, _ in answers), 2),
        "scrape_bytes": answers[-1][2],
        "forward_ms": round(1e3 * statistics.median(_durations(ends)), 2),
    }
    show("metrics", figures, as_json)


@contextmanager
def asked(server: MetricsServer, count: int) -> Iterator[subprocess.Popen[str]]:
    """Have another process scrape the server so many times; it prints when each scrape began and ended, and its bytes."""
    command = [sys.executable, "-c", _ASKING, str(server.server_port), str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _answers(process: subprocess.Popen[str]) -> list[tuple[float, float, int]]:
    assert process.stdout is not None
    return [(float(began), float(ended), int(size)) for began, ended, size in map(str.split, process.stdout)]


def _cpu_ms(server: MetricsServer, count: int) -> float:
    """Processor time of this process for each scrape."""
    before = time.process_time()
    with asked(server, count) as process:
        process.wait()
    return 1e3 * (time.process_time() - before) / count


def _lost_ms(ends: Sequence[float], window: Times) -> float:
    """By how much the forwards that overlap a window took longer than those before it."""
    first, last = bisect(ends, window[0]), bisect(ends, window[1])
    usual = statistics.median(_durations(ends[bisect(ends, window[0] - _BEFORE_S) : first]))
    took = ends[min(last, len(ends) - 1)] - ends[first - 1]
    return 1e3 * (took - (min(last, len(ends) - 1) - first + 1) * usual)


def _durations(ends: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(ends)]


def _keys() -> set[str]:
    """The keys of figures in the table."""
    single = {getattr(row, name) for row in ROWS for name in ("key", "times", "spent") if hasattr(row, name)}
    return single.union(*(row.keys for row in ROWS if isinstance(row, Facts)))
