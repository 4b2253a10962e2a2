"""Who may read and write what: tried on a real broker with TLS, with every kind of credential on every topic."""

from __future__ import annotations

import pytest

from tools.access.__main__ import PAGE, examples, page_with, table
from tools.access.trial import Rights, trial_broker

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("failing_handshakes"),
]


@pytest.fixture(scope="module")
def rights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rights]:
    with trial_broker(tmp_path_factory.mktemp("access")) as trial:
        return {each.title: trial.rights(each) for each in trial.credentials}


def test_the_documents_are_current(rights: dict[str, Rights]) -> None:
    current = PAGE.read_text(encoding="utf-8")
    assert current == page_with(current, table(rights)), "run: python -m tools.access"
    for path, text in examples().items():
        assert path.read_text(encoding="utf-8") == text, "run: python -m tools.access"


def test_nobody_has_rights_in_anothers_session(rights: dict[str, Rights]) -> None:
    session = "sled/session/HUB/NODE/"
    mine = {f"{session}draft", f"{session}verdict", "sled/node/NODE/opened", "sled/hub/HUB/open/NODE"}
    assert mine <= rights["node `pi`"].read | rights["node `pi`"].write
    for stranger in ("another hub", "another node", "asker `tablet`", "another asker", "observer"):
        assert not (rights[stranger].read | rights[stranger].write) & (mine - {"sled/node/NODE/opened"}), stranger
        assert "sled/node/NODE/opened" not in rights[stranger].read


def test_an_asker_may_only_ask_and_read_its_answers(rights: dict[str, Rights]) -> None:
    own = "sled/node/NODE/"
    answers = frozenset(
        {f"{own}answer/ASKER", f"{own}answer/ASKER/stream", *(f"{own}{leaf}" for leaf in ("status", "info", "stats"))}
    )
    assert rights["asker `tablet`"] == Rights(
        True, answers, frozenset({f"{own}ask/ASKER", f"{own}cancel/ASKER", "sled/flush"})
    )


def test_a_home_asks_and_reads_what_is_for_all_homes(rights: dict[str, Rights]) -> None:
    own = "sled/node/NODE/"
    home = rights["home `house`"]
    assert home.write == frozenset({f"{own}ask", f"{own}cancel", f"{own}mode", "homeassistant/status", "sled/flush"})
    assert {f"{own}answer", f"{own}answer/stream", f"{own}call", f"{own}status"} <= home.read
    assert not any("ASKER" in topic or "session" in topic for topic in home.read)


def test_an_observer_reads_the_state_of_hubs_and_nodes_and_nothing_else(rights: dict[str, Rights]) -> None:
    state = {f"sled/{of}/{leaf}" for of in ("hub/HUB", "node/NODE") for leaf in ("status", "info", "stats")}
    assert rights["observer"] == Rights(True, frozenset(state), frozenset({"sled/flush"}))


def test_a_certificate_gives_what_a_password_gives(rights: dict[str, Rights]) -> None:
    assert rights["node, by certificate"] == rights["node `pi`"]


@pytest.mark.parametrize(
    "title",
    [
        "revoked password", "revoked certificate", "rotated password", "rotated certificate", "no credential",
        "no certificate", "another's name",
    ],
)  # fmt: skip
def test_who_has_no_credential_in_force_is_refused(rights: dict[str, Rights], title: str) -> None:
    assert rights[title] == Rights(admitted=False)


def test_a_node_can_leave_retained_messages_on_few_topics() -> None:
    """Every level that a node may choose is one more way to fill the broker's memory for good."""
    (rules,) = [text for path, text in examples().items() if path.name == "sled.acl"]
    block = rules.partition("user pi\n")[2].partition("\n\n")[0]
    free = [line for line in block.splitlines() if "write" in line and ("+" in line or "#" in line)]
    assert free == []
