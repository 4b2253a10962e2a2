"""Which topics a user may read and write: the rules of each role, and mosquitto's ACL file made of them.

Every user has a block of its own, and there is no rule for everybody: who is not enrolled has no rights at all. Hubs, nodes
and askers are named in what nodes, askers and homes may write, and `+` stands only in what is read, and in what a hub writes to
nodes. So a device can leave retained messages on a few topics only, whatever it does.

An asker has topics of its own at each node, and sees its own answers only. A home is what acts for the whole house, such as Home Assistant,
Node-RED or a robot: it asks on the topics that all homes share, and reads all answers and calls there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from shared.discovery import birth_topic, config_topic
from shared.topics import Topics

_NOBODY = (
    "# Who has no name may do nothing. Without any rule mosquitto would let everybody do everything.\ntopic deny #"
)
HUB_STATE = ("status", "info", "stats")  # a hub's retained topics
NODE_STATE = HUB_STATE  # those of a node that runs as a service
_ASKED = ("ask", "cancel")  # what is written to a node
_ROS = ("call", "say")  # what a node tells robots in ROS 2
_SET = "mode"  # what homes set at a node
DISCOVERY = "homeassistant"  # the first level of Home Assistant's discovery topics, unless its user has changed it


class Role(Enum):
    """What a user of the broker is."""

    HUB = "hub"  # verifies drafts
    NODE = "node"  # a device that drafts
    ASKER = "asker"  # may ask nodes and read their answers to it
    HOME = "home"  # may ask nodes, and read what they answer and the calls they make
    OBSERVER = "observer"  # may read the state of hubs and nodes


@dataclass(frozen=True)
class Rule:
    """`access` is mosquitto's word: read, write or readwrite."""

    access: str
    topic: str

    def __str__(self) -> str:
        return f"topic {self.access} {self.topic}"


def rules(name: str, roles: Mapping[str, Role], topics: Topics) -> list[Rule]:
    """What user `name` may do beside the other users in `roles`. Raises KeyError for a name that is not among them."""
    of_role: dict[Role, Callable[[str, Mapping[str, Role], Topics], list[Rule]]] = {
        Role.HUB: _of_hub,
        Role.NODE: _of_node,
        Role.ASKER: _of_asker,
        Role.HOME: _of_home,
        Role.OBSERVER: lambda *_: [*_hubs_state(topics), *_nodes_state(topics)],
    }
    return [*of_role[roles[name]](name, roles, topics), Rule("write", topics.flush)]


def acl(roles: Mapping[str, Role], topics: Topics) -> str:
    """mosquitto's ACL file for these users."""
    blocks = [
        "\n".join([f"# {role.value}", f"user {name}", *map(str, rules(name, roles, topics))])
        for name, role in roles.items()
    ]
    return "\n\n".join([_NOBODY, *blocks]) + "\n"


def _of_hub(hub: str, _: Mapping[str, Role], topics: Topics) -> list[Rule]:
    return [
        *_describes_itself(hub),
        *(Rule("readwrite", topics.hub(hub, leaf)) for leaf in HUB_STATE),
        Rule("read", topics.open(hub, "+")),
        Rule("read", topics.draft(hub, "+")),
        Rule("write", topics.offer(hub)),
        Rule("read", topics.fetch(hub, "+")),
        Rule("write", topics.piece(hub, "+")),
        # It writes to itself before it serves: a subscription without the right to read looks like any other.
        Rule("write", topics.open(hub, hub)),
        Rule("write", topics.draft(hub, hub)),
        Rule("write", topics.verdict(hub, "+")),
        Rule("write", topics.opened("+")),
    ]


def _of_node(node: str, roles: Mapping[str, Role], topics: Topics) -> list[Rule]:
    hubs, askers = _named(roles, Role.HUB), _named(roles, Role.ASKER)
    return [
        *_hubs_state(topics),
        *_describes_itself(node),
        *(Rule("write", topics.open(hub, node)) for hub in hubs),
        Rule("read", topics.opened(node)),
        *(Rule("write", topics.draft(hub, node)) for hub in hubs),
        Rule("read", topics.verdict("+", node)),
        Rule("read", topics.offer("+")),
        *(Rule("write", topics.fetch(hub, node)) for hub in hubs),
        Rule("read", topics.piece("+", node)),
        *(Rule("readwrite", topics.echo(node, way)) for way in ("there", "back")),
        *(Rule("readwrite", topics.node(node, leaf)) for leaf in NODE_STATE),
        *(Rule("read", topics.node(node, leaf)) for leaf in (*_ASKED, _SET)),
        *(Rule("read", topics.node(node, leaf, "+")) for leaf in _ASKED),
        Rule("write", topics.node(node, "call")),
        *(Rule("write", topics.ros(node, leaf)) for leaf in _ROS),
        # On its own topics as an asker another program of the device asks the one that runs as a service.
        *(Rule("write", topics.node(node, leaf, node)) for leaf in _ASKED),
        *_answers("write", node, ["", *askers], topics),
        *_answers("readwrite", node, [node], topics),
    ]


def _of_asker(asker: str, roles: Mapping[str, Role], topics: Topics) -> list[Rule]:
    nodes = _named(roles, Role.NODE)
    return [
        *(Rule("write", topics.node(node, leaf, asker)) for node in nodes for leaf in _ASKED),
        *_answers("read", "+", [asker], topics),
        *_nodes_state(topics),
    ]


def _of_home(_: str, roles: Mapping[str, Role], topics: Topics) -> list[Rule]:
    nodes = _named(roles, Role.NODE)
    return [
        *_hubs_state(topics),
        *_nodes_state(topics),
        Rule("read", topics.node("+", "call")),
        *(Rule("read", topics.ros("+", leaf)) for leaf in _ROS),
        *(Rule("write", topics.node(node, leaf)) for node in nodes for leaf in (*_ASKED, _SET)),
        *_answers("read", "+", [""], topics),
        # Home Assistant learns of hubs and nodes there, and says when it starts.
        Rule("read", config_topic(DISCOVERY, "+")),
        Rule("readwrite", birth_topic(DISCOVERY)),
    ]


def _describes_itself(name: str) -> list[Rule]:
    return [Rule("write", config_topic(DISCOVERY, name)), Rule("read", birth_topic(DISCOVERY))]


def _answers(access: str, node: str, askers: Iterable[str], topics: Topics) -> list[Rule]:
    answers = [topics.node(node, "answer", asker) for asker in askers]
    return [Rule(access, topic) for answer in answers for topic in (answer, topics.stream(answer))]


def _hubs_state(topics: Topics) -> list[Rule]:
    return [Rule("read", topics.hub("+", leaf)) for leaf in HUB_STATE]


def _nodes_state(topics: Topics) -> list[Rule]:
    return [Rule("read", topics.node("+", leaf)) for leaf in NODE_STATE]


def _named(roles: Mapping[str, Role], role: Role) -> list[str]:
    return [name for name, each in roles.items() if each is role]
