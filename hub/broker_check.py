"""Whether the broker lets a hub do its work: found out before the model is loaded.

mosquitto grants every subscription, also one of whose messages it will deliver none. So a hub writes to itself, as if it were
a node of its own name, and looks what arrives.
"""

from __future__ import annotations

import queue
import time

from shared.errors import BrokerRefused
from shared.mqtt import MqttLink
from shared.settings import BrokerSettings
from shared.topics import Topics

_ARRIVAL_S = 5.0  # seconds for a message to come back


def check_broker(broker: BrokerSettings, hub: str) -> None:
    """Connect and use every kind of topic that a hub needs. Raises LinkError, or SettingsError for the credential's files."""
    topics, link = Topics(broker.prefix), MqttLink(broker, hub)
    arrived: queue.SimpleQueue[str] = queue.SimpleQueue()
    opening, draft = topics.open(hub, hub), topics.draft(hub, hub)
    read = {opening: topics.open(hub, "+"), draft: topics.draft(hub, "+")}
    user = broker.username or hub
    link.connect()
    try:
        for topic_filter in read.values():
            link.subscribe(topic_filter, lambda topic, _: arrived.put(topic), retained=False)
        written = [topics.flush, topics.opened(hub), topics.verdict(hub, hub), opening, draft]
        written += [topics.hub(hub, leaf) for leaf in ("status", "info", "stats")]
        for topic in written:
            _write(link, topic, user)
        missing = _missing(arrived, set(read))
        if missing:
            raise _no_right("read", read[missing.pop()], user)
    finally:
        link.close()


def _write(link: MqttLink, topic: str, user: str) -> None:
    """Write to `topic` what says nothing, also of a hub's state, and wait for the broker's word on it."""
    refused = link.refused_publishes
    link.publish(topic, "{}")
    link.flush()
    if link.refused_publishes > refused:
        raise _no_right("write", topic, user)


def _missing(arrived: queue.SimpleQueue[str], wanted: set[str]) -> set[str]:
    """Those of the topics that nothing arrives on."""
    deadline = time.monotonic() + _ARRIVAL_S
    while wanted and (left := deadline - time.monotonic()) > 0:
        try:
            wanted.discard(arrived.get(timeout=left))
        except queue.Empty:
            break
    return wanted


def _no_right(access: str, topic: str, user: str) -> BrokerRefused:
    return BrokerRefused(
        f"the broker does not let its user {user!r} {access} {topic}: its ACL has no block for a hub of that name, or an old "
        f"one; on the broker's machine run `sled-hub enroll {user} --role hub` (or `sled-hub init-broker`, which writes the "
        "rules of all users anew), and let mosquitto read them: systemctl reload mosquitto"
    )
