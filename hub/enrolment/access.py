"""Which topics a user may read and write: the rules of each role, and mosquitto's ACL file made of them.

Every user has a block of its own, and there is no rule for everybody: who is not enrolled has no rights at all. Hubs, nodes
and askers are named in the rules, with `+` only where a level can't be known: a session's id, and in what is only read. So
a node can write to no more topics than there are hubs and askers, but for the sessions' ids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from shared.topics import Topics

_NOBODY = (
    "# Who has no name may do nothing. Without any rule mosquitto would let everybody do everything.\ntopic deny #"
)
HUB_STATE = ("status", "info", "stats")  # a hub's retained topics


class Role(Enum):
    """What a user of the broker is."""

    HUB = "hub"  # verifies drafts
    NODE = "node"  # a device that drafts
    ASKER = "asker"  # may ask nodes and read their answers to it
    OBSERVER = "observer"  # may read the state of hubs


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
        Role.OBSERVER: lambda *_: _state(topics),
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
        *(Rule("readwrite", topics.hub(hub, leaf)) for leaf in HUB_STATE),
        Rule("read", topics.open(hub, "+")),
        Rule("read", topics.draft(hub, "+", "+")),
        # It writes to itself before it serves: a subscription without the right to read looks like any other.
        Rule("write", topics.open(hub, hub)),
        Rule("write", topics.draft(hub, hub, "+")),
        Rule("write", topics.verdict(hub, "+", "+")),
        Rule("write", topics.opened("+")),
    ]


def _of_node(node: str, roles: Mapping[str, Role], topics: Topics) -> list[Rule]:
    hubs, askers = _named(roles, Role.HUB), _named(roles, Role.ASKER)
    return [
        *_state(topics),
        *(Rule("write", topics.open(hub, node)) for hub in hubs),
        Rule("read", topics.opened(node)),
        *(Rule("write", topics.draft(hub, node, "+")) for hub in hubs),
        Rule("read", topics.verdict("+", node, "+")),
        *(Rule("readwrite", topics.echo(node, way)) for way in ("there", "back")),
        *([Rule("read", topics.ask(node, "+"))] if askers else []),
        *(Rule("write", topics.answer(node, asker)) for asker in askers),
    ]


def _of_asker(asker: str, roles: Mapping[str, Role], topics: Topics) -> list[Rule]:
    nodes = _named(roles, Role.NODE)
    return [*(Rule("write", topics.ask(node, asker)) for node in nodes), Rule("read", topics.answer("+", asker))]


def _state(topics: Topics) -> list[Rule]:
    return [Rule("read", topics.hub("+", leaf)) for leaf in HUB_STATE]


def _named(roles: Mapping[str, Role], role: Role) -> list[str]:
    return [name for name, each in roles.items() if each is role]
