"""The hub on the broker: loads the target, connects intake and engine, publishes answers and state."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from hub.assembly import assemble
from hub.delivery.delivery import Delivery
from hub.delivery.offer import nothing
from hub.description import description
from hub.energy import ForwardEnergy
from hub.intake import Intake
from hub.kv.kept_pages import KeptPages
from hub.kv.pages import PAGE_SIZE
from hub.model.device import pick_device, pick_dtype
from hub.model.ranks import ranks_of
from hub.model.target import Target
from hub.neighbours import Neighbours
from hub.sessions.session import Limits, SessionKey
from hub.settings import Exits, HubSettings, Sharing, Weights
from hub.stats_topic import StatsTopic
from shared.codec import encode, encode_in
from shared.discovery import Discovery
from shared.energy.meter import Meter
from shared.errors import LinkError, RankLost
from shared.guide import guides_of
from shared.messages import AnyMessage, Early, Fault, FaultCode, Open, Opened
from shared.mqtt import MqttLink
from shared.pair import load_pair
from shared.systemd import READY, STOPPING, Heartbeat, notify
from shared.topics import Topics, check_name
from shared.trace_file import TraceFile
from shared.vocabulary import end_ids, ids_below, load_tokenizer, require_known

log = logging.getLogger(__name__)

_EXPIRY_S = 60  # seconds after which a verdict that was not delivered is of no use


class Hub:
    """One hub: `run` serves until it is told to stop."""

    def __init__(self, settings: HubSettings, say: Callable[[str], None]) -> None:
        """Load the pair's target; `say` is told about the steps. Raises SledError."""
        self._topics = Topics(settings.broker.prefix)
        self._name = check_name(settings.name, "hub name")
        self._trace = None if settings.trace is None else TraceFile(settings.trace, "hub", self._name)
        self._pair = load_pair(settings.pair)
        self._tokenizer_hash = self._pair.tokenizer_hash()
        tokenizer = load_tokenizer(self._pair)
        ends = end_ids(self._pair, tokenizer)
        device = pick_device(settings.device)
        dtype_name = self._pair.target_dtype if settings.dtype == "auto" else settings.dtype
        self._energy = ForwardEnergy(Meter(settings.watts))
        self._neighbours = Neighbours()
        if device.type == "cpu":
            self._neighbours.watch()
        say(f"loading the target of {self._pair.name!r} on {device} in {dtype_name}")
        checkpoint = self._pair.verify_target()
        self._ranks = ranks_of(settings, checkpoint, device, dtype_name)
        target = Target(
            checkpoint,
            device=device,
            dtype=pick_dtype(dtype_name),
            kv_memory=settings.kv_bytes,
            weights=settings.weights,
            exact=settings.exact,
            threads=settings.threads,
            exit_head=self._exit_head(settings.exits) if self._ranks is None else None,
            crowded=lambda: self._neighbours.are_busy,
            rounded=settings.cache_folder and settings.cache_folder / "weights",
            ranks=self._ranks,
        )
        if device.type == "cpu":
            self._neighbours.threads = torch.get_num_threads()
            say(f"computing with {self._neighbours.threads} threads")
        rounded = "" if settings.weights is Weights.AUTO else f"/{settings.weights.value}"
        self._target_id = f"{self._pair.name}/{dtype_name}{rounded}"
        self._bits = target.bits
        self._pool, self._page_bytes = target.pool, target.cache.page(0).nbytes
        require_known(self._pair, tokenizer, ends, target.vocab_size)
        vocab_size = min(ids_below(tokenizer), target.vocab_size)
        limits = Limits(target.context, vocab_size, ends, settings.max_draft)
        guides = guides_of(self._pair, vocab_size, ends)
        self._info = {
            "pair": self._pair.name,
            "tokenizer": self._tokenizer_hash.hex(),
            "target": self._target_id,
            "bits": self._bits,
            "exact": target.is_exact,
            "context": target.context,
            "grammars": guides is not None,
            "surprisal": True,
            "device": str(device),
            "version": version("sled-mqtt"),
        }
        self.engine = assemble(
            target,
            limits,
            settings,
            group=self._group(settings.share_prefixes),
            answer_open=self._answer_open,
            publish=self._publish,
            guides=guides,
            trace=self._trace,
        )
        kept = settings.cache_folder if self._ranks is None else None  # each rank has a part of a page
        self._kept = KeptPages(kept and kept / "pages", self._bits, target.pool, target.cache)
        if settings.share_prefixes is not Sharing.OFF and (pages := self._kept.load()):
            say(f"{pages * PAGE_SIZE} ids of common beginnings are known from before")
        self._discovery = Discovery(
            settings.broker, description(self._topics, self._name, self._pair.name, version("sled-mqtt"))
        )
        self._intake = Intake(self._topics, limits, self.engine)
        rate = settings.delivery_bytes_per_s
        self._delivery = (
            Delivery(settings.broker, self._name, self._pair, rate, self.engine.turns.await_pause) if rate else None
        )
        self._began_at = time.monotonic()
        self._stats = StatsTopic(self._publish_stats)
        self._serves = True  # until it is told to stop
        self._unsent = 0  # answers that found too many others waiting for the broker; the engine's thread counts them
        self._say = say
        self._link = MqttLink(
            settings.broker,
            self._name,
            will=(self._topics.hub(self._name, "status"), {"online": False}),
            gate=self._intake,
        )

    def run(self, stop: threading.Event) -> None:
        """Connect, announce the hub and serve until `stop` is set. Raises LinkError when the broker can't be reached, RankLost when a process is gone.

        To be called on the thread that made the hub. OpenMP has a team of workers for each thread that ever computed,
        and with more workers than cores they no longer spin: every forward then takes half as long again.
        """
        if self._ranks is not None:
            self._ranks.on_lost = stop.set
        self._link.connect()
        stats = threading.Thread(target=self._publish_stats_until, args=(stop,), name="stats")
        try:
            self._link.subscribe(self._topics.open(self._name, "+"), self._intake.on_open, retained=False)
            self._link.subscribe(self._topics.draft(self._name, "+"), self._intake.on_draft, retained=False)
            self._link.subscribe(self._topics.hub(self._name, "status"), self._correct_status)
            self._discovery.follow(self._link, self._announce_again)
            self._link.greet(self._announce)
            self._say(f"hub {self._name!r} serves {self._pair.name!r}")
            stats.start()
            if self._delivery is not None:
                self._delivery.start()
            notify(READY)
            self.engine.run(stop, Heartbeat().beat)
        finally:
            notify(STOPPING)
            stop.set()
            if stats.is_alive():
                stats.join()
            if self._delivery is not None:
                self._delivery.close()
            self._serves = False
            self._link.publish_json(self._topics.hub(self._name, "status"), {"online": False})
            self.engine.drain()
            if self._trace is not None:
                self._trace.close()
            self._link.close()
            self._neighbours.close()
            self.engine.close()
            if self._ranks is not None:
                self._ranks.close()
        if self._ranks is not None and self._ranks.lost:
            raise RankLost(self._ranks.lost)
        self._kept.save()

    def metrics(self) -> dict[str, Any]:
        """What `info` and `stats` tell, and what is so at this moment. To be asked by any thread."""
        return {
            **self._info,
            **self._figures(),
            "hub": self._name,
            "connected": self._link.connected,
            "stats_age_s": self._stats.age_s,
            "nodes": self.engine.book.nodes,
            "unread": self.engine.unread,
            "drafts": self.engine.drafts,
            "forwards": self.engine.stats.target_forwards + self.engine.stats.prefill_forwards,
        }

    def _exit_head(self, exits: Exits) -> Path | None:
        head = self._pair.exit_head
        return None if head is None or exits is Exits.OFF else self._pair.verify(head)

    def _group(self, sharing: Sharing) -> Callable[[SessionKey], bytes | None]:
        """What the sessions that share pages have in common; None for those that share none."""
        target = self._target_id.encode()
        groups: dict[Sharing, Callable[[SessionKey], bytes | None]] = {
            Sharing.HUB: lambda _: target,
            Sharing.NODE: lambda key: target + b"\0" + key.node.encode(),
            Sharing.OFF: lambda _: None,
        }
        return groups[sharing]

    def _announce(self) -> None:
        self._link.publish_json(self._topics.hub(self._name, "info"), self._info)
        if self._delivery is None:
            self._link.publish_json(self._topics.offer(self._name), nothing(self._pair))
        self._stats.tell()
        self._link.publish_json(self._topics.hub(self._name, "status"), {"online": True})
        self._discovery.tell(self._link)

    def _correct_status(self, _topic: str, payload: bytes) -> None:
        """Say again that the hub is online: the broker may publish the last will of a connection that it had before."""
        if json.loads(payload) == {"online": False}:
            self._announce_again()

    def _announce_again(self) -> None:
        if self._serves:
            self._announce()

    def _publish_stats_until(self, stop: threading.Event) -> None:
        while not stop.wait(self._stats.wait_s):
            if self._link.retains:
                self._stats.tell()
            else:
                self._announce()  # nodes that come later hear of it all the same

    def _publish_stats(self) -> bool:
        connected = self._link.connected
        if connected:
            self._link.publish_json(self._topics.hub(self._name, "stats"), self._figures())
        return connected

    def _figures(self) -> dict[str, Any]:
        counted = self.engine.stats.as_json(
            at_us=int(time.monotonic() * 1e6),
            up_s=round(time.monotonic() - self._began_at, 3),
            sessions=len(self.engine.book),
            evicted=self.engine.book.evicted,
            preempted=self.engine.book.preempted,
            malformed=self._intake.malformed,
            dropped=self.engine.lost + self._intake.refused + self._unsent,
            handler_errors=self._link.handler_errors,
            refused_publishes=self._link.refused_publishes,
            delivered_bytes=0 if self._delivery is None else self._delivery.delivered_bytes,
            kv_bytes=self._pool.count * self._page_bytes,
            held_bytes=(self._pool.count - self._pool.available) * self._page_bytes,
            delivery_refused=0 if self._delivery is None else self._delivery.refused,
        )
        return counted | self._energy.figures(counted["forward_us"] / 1e6)

    def _answer_open(self, message: Open) -> Opened | Fault:
        if message.pair != self._pair.name:
            return Fault(
                FaultCode.UNKNOWN_PAIR, f"this hub serves {self._pair.name!r}; open it with a hub that serves yours"
            )
        if message.tokenizer != self._tokenizer_hash:
            return Fault(
                FaultCode.WRONG_TOKENIZER, "the pair's tokenizer differs; install the same version on both sides"
            )
        defaults = self._pair.defaults
        limits = self.engine.book.limits
        return Opened(
            session=message.session,
            target=self._target_id,
            context=limits.context,
            max_draft=limits.max_draft,
            end_ids=tuple(sorted(limits.end_ids)),
            temperature=defaults.temperature,
            top_k=defaults.top_k,
            top_p=defaults.top_p,
            bits=self._bits if message.wants_bits else "",
        )

    def _publish(self, key: SessionKey, message: AnyMessage) -> None:
        at_open = isinstance(message, Opened) or (isinstance(message, Fault) and message.session is not None)
        topic = self._topics.opened(key.node) if at_open else self._topics.verdict(self._name, key.node)
        payload = encode(message) if at_open else encode_in(key.id, message)
        try:
            if isinstance(message, Early):
                self._link.publish(topic, payload, droppable=True)
            else:
                self._link.publish(topic, payload, expiry_s=_EXPIRY_S)
        except LinkError as error:
            # The node asks again; the hub goes on serving the others.
            self._unsent += 1
            log.warning("%s", error)
