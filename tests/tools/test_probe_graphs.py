"""The graphs by which devices are measured are what the tool makes, and old versions of ONNX Runtime read them."""

from __future__ import annotations

import onnx

from edge_node.profile.probe import FOLDER
from tools.probe_graphs import graphs


def test_the_files_are_current() -> None:
    made = graphs()
    assert set(FOLDER.glob("*.onnx")) == set(made)
    for path, content in made.items():
        assert path.read_bytes() == content, "run: python -m tools.probe_graphs"
        assert len(content) < 10_000  # they hold no weights


def test_their_form_is_old_enough() -> None:
    for content in graphs().values():
        assert onnx.load_from_string(content).ir_version <= 10
