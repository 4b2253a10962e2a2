from __future__ import annotations

import pytest

from shared.errors import ProtocolError, SettingsError
from shared.topics import SessionTopic, Topics, check_name


def test_a_session_topic_names_hub_and_node() -> None:
    topics = Topics("house/sled")
    topic = topics.draft("den", "pi")
    assert topic == "house/sled/session/den/pi/draft"
    assert topics.parties_of(topic) == SessionTopic("den", "pi")
    assert topics.opener_of(topics.open("den", "pi")) == "pi"
    assert topics.hub_of(topics.hub("den", "status")) == "den"


@pytest.mark.parametrize(
    "topic",
    [
        "sled/session/den/draft",
        "sled/session/den/pi/else",
        "sled/session/den/p i/draft",
        "sled/session/den/pi/draft/more",
        "other/session/den/pi/draft",
        "sled",
        "",
    ],
)
def test_other_topics_are_refused(topic: str) -> None:
    with pytest.raises(ProtocolError):
        Topics().parties_of(topic)


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "a b", "é", "x" * 65])
def test_a_name_must_be_one_plain_level(name: str) -> None:
    with pytest.raises(SettingsError, match="letters"):
        check_name(name, "node name")


@pytest.mark.parametrize("prefix", ["", "/sled", "sled/", "a/#", "+", "$share/x"])
def test_a_prefix_must_be_plain_levels(prefix: str) -> None:
    with pytest.raises(SettingsError, match="prefix"):
        Topics(prefix)
