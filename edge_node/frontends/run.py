"""The service as a program: signals, what systemd is told, and the ways on which it is asked."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from edge_node.assembly import Node
from edge_node.delivery.follower import DraftFollower
from edge_node.delivery.pull import Found
from edge_node.frontends.pull import pull
from edge_node.home_assistant.agent import HomeAgent
from edge_node.home_assistant.at_home import AtHome
from edge_node.home_assistant.rest import address
from edge_node.service.requests import Asked, spoken_request
from edge_node.service.service import NodeService
from edge_node.settings import HomeAssistantSettings, NodeSettings
from shared.install import needing
from shared.loading import keep_imports
from shared.manifest import is_name
from shared.metrics_port import metrics_port
from shared.pair import pair_folder
from shared.streams import note
from shared.systemd import READY, STOPPING, Heartbeat, notify

if TYPE_CHECKING:
    from shared.metrics_server import MetricsServer

_ASSIST = ".assist"  # who asks over Wyoming; no user of a broker is called so


def run(settings: NodeSettings) -> None:
    """Serve until SIGTERM or Ctrl-C. A pair that is not here is fetched first.

    Raises SledError when the pair can't be loaded or fetched, or the broker can't be reached, and at once for a port of the metrics that is taken.
    """
    with metrics_port(settings.metrics) as metrics:
        _run(settings, metrics)


def _run(settings: NodeSettings, metrics: MetricsServer | None) -> None:
    if settings.fetch and is_name(settings.pair) and pair_folder(settings.pair) is None:
        note(f"the pair {settings.pair!r} is not here; a hub is asked for it")
        pull(settings)
    node = Node(settings)
    keep_imports()
    with _at_home(settings) as agent:
        service = NodeService(settings, node, agent)
        if metrics is not None:
            from edge_node.metrics import ROWS

            metrics.start(ROWS, service.metrics)

        def end(*_: Any) -> None:
            notify(STOPPING)
            service.end()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        node.connect()
        try:
            with _assist(settings, service), _programs(settings, service, node), _following(settings, node, service):
                service.run(lambda: _ready(settings), Heartbeat().beat)
        finally:
            node.close()


@contextmanager
def _at_home(settings: NodeSettings) -> Iterator[HomeAgent | None]:
    """What carries calls out; None where the settings name no Home Assistant."""
    if not settings.home_assistant.url:
        yield None
        return
    with closing(AtHome(settings.home_assistant)) as home:
        yield home.agent


@contextmanager
def _following(settings: NodeSettings, node: Node, service: NodeService) -> Iterator[None]:
    """Have the node use better drafts that hubs come to offer, where its pair was pulled and the settings want that."""
    if node.store is None or not settings.fetch or not node.drafts:
        yield
        return

    def arrived(found: Found) -> None:
        what = f"draft {found.draft.name} of {found.pair} has come from hub {found.hub}"
        note(f"{what}; {'answers use it from now on' if node.renew() else 'start this service again to use it'}")

    def is_busy() -> bool:
        return service.is_answering

    with closing(DraftFollower(settings.broker, settings.name, settings.draft, node.store, is_busy, arrived)):
        yield


@contextmanager
def _assist(settings: NodeSettings, service: NodeService) -> Iterator[None]:
    """Answer Home Assistant's Assist, where the settings have a port for it."""
    given = settings.home_assistant
    if not given.wyoming_port:
        yield
        return
    from edge_node.home_assistant.wyoming_server import WyomingServer

    answers = _Assist(service, settings.max_tokens)
    with closing(
        WyomingServer(
            given.wyoming_host,
            given.wyoming_port,
            _callers(given),
            answers,
            settings.name,
            settings.pair,
            version("sled-mqtt"),
        )
    ) as server:
        server.start()
        yield


@contextmanager
def _programs(settings: NodeSettings, service: NodeService, node: Node) -> Iterator[None]:
    """Answer programs that speak HTTP, where the settings have a port for them."""
    given = settings.http
    if not given.port:
        yield
        return
    key = given.key()
    with needing("gateway"):
        from edge_node.gateway.app import make_app
        from shared.http_server import HttpServer
    from edge_node.gateway.answering import Answering

    answering = Answering(service, node.pair.name, settings.max_tokens, has_calls=node.pair.tools is not None)
    app = make_app(answering, version("sled-mqtt"), key)
    with closing(HttpServer(app, given.host, given.port, "http_port or http_host")) as server:
        server.start()
        host = f"[{given.host}]" if ":" in given.host else given.host
        note(f"programs are answered at http://{host}:{given.port}/v1 (OpenAI's API) and /api (Ollama's)")
        yield


def _callers(given: HomeAssistantSettings) -> tuple[str, ...]:
    """Who may talk Wyoming; everybody if nobody is named."""
    if given.callers:
        return () if "any" in given.callers else given.callers
    return (address(given.url)[1],) if given.url else ()


class _Assist:
    """The service as Assist asks it."""

    def __init__(self, service: NodeService, most_tokens: int) -> None:
        self._service, self._most_tokens = service, most_tokens

    def ask(self, text: str, chat: str, request_id: str, to: Callable[[dict[str, Any]], object]) -> None:
        """Have a request answered."""
        asked: Asked = spoken_request(text, chat, request_id, self._most_tokens)
        self._service.ask(asked, _ASSIST, to)

    def cancel(self, request_id: str) -> None:
        """End the answer."""
        self._service.cancel(_ASSIST, request_id)


def _ready(settings: NodeSettings) -> None:
    notify(READY)
    note(f"node {settings.name!r} answers on {settings.broker.prefix}/node/{settings.name}/ask")
