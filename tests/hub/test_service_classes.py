"""Which class a node is of."""

from __future__ import annotations

import pytest

from hub.sessions.service_classes import ServiceClass, ServiceClasses, patterns


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("kitchen-mic", ServiceClass.VOICE),
        ("mic-camera-1", ServiceClass.VOICE),
        ("camera-1", ServiceClass.BACKGROUND),
        ("Camera-1", ServiceClass.NORMAL),
        ("den", ServiceClass.NORMAL),
        ("", ServiceClass.NORMAL),
    ],
)
def test_a_nodes_name_tells_its_class(node: str, expected: ServiceClass) -> None:
    assert ServiceClasses(("*-mic", "mic-*"), ("camera-*", "mic-*")).of(node) is expected


@pytest.mark.parametrize(("text", "expected"), [("", ()), (" , ", ()), ("a-*, b ,c", ("a-*", "b", "c"))])
def test_patterns_are_separated_by_commas(text: str, expected: tuple[str, ...]) -> None:
    assert patterns(text) == expected
