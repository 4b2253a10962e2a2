"""The endpoint that Prometheus reads, and those who read it badly."""

from __future__ import annotations

import logging
import socket
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared import metrics_server
from shared.buckets import Buckets
from shared.errors import SettingsError
from shared.metrics import Durations, Facts, Figure, Row, Spread
from shared.metrics_port import metrics_port
from shared.metrics_server import MetricsServer
from shared.metrics_settings import MetricsSettings
from tests.waiting import wait_until
from tools.rig.broker import answers, free_port

_ROWS: tuple[Row, ...] = (
    Facts("sled_test_info", "Always 1.", ("hub",)),
    Figure("sled_test_waited_seconds_total", "Waited.", "waited_us", 1e-6),
    Figure("sled_test_sessions", "Open.", "sessions"),
    Figure("sled_test_unknown", "Nobody knows.", "unknown"),
    Durations("sled_test_forward_seconds", "Forwards.", "forwards", "forward_us", 1e-6),
    Spread("sled_test_first_seconds", "First.", "first"),
)


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    with closing(MetricsServer("127.0.0.1", 0)) as made:
        yield made


def figures() -> Mapping[str, Any]:
    first = Buckets((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        first.add(value)
    return {
        "hub": 'den "of" \\ many\nlines',
        "waited_us": 2_500_000,
        "sessions": 3,
        "unknown": None,
        "forwards": 4,
        "forward_us": 500_000,
        "first": first,
    }


def scraped(port: int, path: str = "/metrics") -> dict[tuple[str, str], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = [sample for family in families for sample in family.samples]
    return {(sample.name, "".join(sample.labels.values())): sample.value for sample in samples}


def test_figures_are_read_in_base_units_under_their_names(server: MetricsServer) -> None:
    server.start(_ROWS, figures)
    found = scraped(server.server_port)
    assert {key: value for key, value in found.items() if key[0].startswith("sled_")} == {
        ("sled_test_info", 'den "of" \\ many\nlines'): 1.0,
        ("sled_test_waited_seconds_total", ""): 2.5,
        ("sled_test_sessions", ""): 3.0,
        ("sled_test_forward_seconds_count", ""): 4.0,
        ("sled_test_forward_seconds_sum", ""): 0.5,
        ("sled_test_first_seconds_bucket", "0.1"): 2.0,
        ("sled_test_first_seconds_bucket", "1.0"): 3.0,
        ("sled_test_first_seconds_bucket", "+Inf"): 4.0,
        ("sled_test_first_seconds_count", ""): 4.0,
        ("sled_test_first_seconds_sum", ""): 7.65,
    }
    assert found["process_resident_memory_bytes", ""] > 1e6


def test_a_port_that_is_taken_is_told_and_one_that_was_left_is_free() -> None:
    port = free_port()
    with metrics_port(MetricsSettings(port)) as first:
        assert first is not None
        with (
            pytest.raises(
                SettingsError,
                match=f"can't listen for Prometheus on 127.0.0.1:{port}: Address already in use; change metrics_port",
            ),
            metrics_port(MetricsSettings(port)),
        ):
            pass
        first.start(_ROWS, figures)
        assert scraped(port)["sled_test_sessions", ""] == 3.0
    assert not answers(port)
    with metrics_port(MetricsSettings(port)) as second:
        assert second is not None


def test_without_a_port_nothing_listens() -> None:
    with metrics_port(MetricsSettings()) as server:
        assert server is None


def hanging(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
    return connection


def test_who_hangs_holds_up_nobody_and_takes_few_threads(server: MetricsServer) -> None:
    server.start(_ROWS, figures)
    before = threading.active_count()
    with ExitStack() as open_ones:
        crowd = [open_ones.enter_context(hanging(server.server_port)) for _ in range(12)]
        assert scraped(server.server_port)["sled_test_sessions", ""] == 3.0
        assert threading.active_count() <= before + metrics_server._MOST
        assert crowd[0].recv(1) == b""  # the oldest have given way
        crowd[-1].sendall(b"\r\n\r\n")
        assert crowd[-1].recv(12) == b"HTTP/1.0 200"
    wait_until(lambda: threading.active_count() == before)


def test_what_comes_byte_by_byte_is_ended(server: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "_LONGEST_S", 0.3)
    server.start(_ROWS, figures)

    def is_closed(connection: socket.socket) -> bool:
        try:
            connection.sendall(b".")
            return connection.recv(1, socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    with hanging(server.server_port) as connection:
        wait_until(lambda: is_closed(connection))


def test_a_mistake_is_logged_and_the_next_scrape_is_answered(
    server: MetricsServer, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Mapping[str, Any]] = [figures(), {}]
    server.start(_ROWS, told.pop)
    with closing(socket.create_connection(("127.0.0.1", server.server_port), timeout=20)) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert connection.recv(1) == b""
    assert scraped(server.server_port)["sled_test_sessions", ""] == 3.0
    assert "the metrics could not be read" in caplog.text
    with closing(socket.create_connection(("127.0.0.1", server.server_port), timeout=20)) as connection:
        connection.sendall(b"\x16\x03\x01 no HTTP at all\r\n\r\n")
        assert b"400" in connection.recv(4096)
    assert not [record for record in caplog.records[1:] if record.levelno >= logging.WARNING]


def test_buckets_hold_what_is_at_most_their_bound() -> None:
    buckets = Buckets((1.0, 2.0))
    for value in (0.0, 1.0, 1.5, 2.0, 2.5):
        buckets.add(value)
    assert (buckets.up_to, buckets.total) == ([2, 4, 5], 7.0)
