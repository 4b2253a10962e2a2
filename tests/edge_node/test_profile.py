"""What a device is measured by: the rates are those of graphs with their weights inside, and the link's is that of a real broker."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_node.delivery.store import room_on_disk
from edge_node.drafting.onnx_options import session_options
from edge_node.link.echo import link_rate
from edge_node.profile.probe import MATRICES, bytes_of, matrices_file
from edge_node.profile.speed import layer_s, weights_per_s
from shared.errors import BrokerRefused
from tools.rig.broker import private_broker

WIDTH = 1536
GRAPHS, BYTES = 4, 12 * 2**20  # of the weights of a graph
PASSES = 12
TRIES = 4  # two busy cores are shared with others: what is right must show in one of them


def with_weights_inside(bits: int) -> tuple[bytes, int]:
    """A row of square matrices, as an exported graph has them when it is loaded, and the number of its weights."""
    rng = np.random.default_rng(1)
    sums = WIDTH // 32 * 8 // bits
    blocks = -(-(WIDTH + sums) // 32)
    count = BYTES * 8 // bits // WIDTH**2
    sizes: Any = {"N": WIDTH, "K": WIDTH + sums, "bits": bits, "block_size": 32, "accuracy_level": 4}
    shares = np.full((32, 8 // bits), 0.1, np.float32)
    shapes = {"split": np.array([-1, WIDTH // 32, 32]), "flat": np.array([-1, sums]), "shares": shares}
    stored: dict[str, Any] = shapes
    nodes = []
    for place in range(count):
        x, y, numbers, scales = f"h{place}", f"h{place + 1}", f"{place}.n", f"{place}.s"
        stored[numbers] = rng.integers(0, 256, (WIDTH, blocks, 32 * bits // 8), np.uint8)
        stored[scales] = np.full((WIDTH, blocks), 1e-3, np.float32)
        given = f"{x}.both"
        nodes += [
            helper.make_node("Reshape", [x, "split"], [f"{x}.split"]),
            helper.make_node("MatMul", [f"{x}.split", "shares"], [f"{x}.sums"]),
            helper.make_node("Reshape", [f"{x}.sums", "flat"], [f"{x}.flat"]),
            helper.make_node("Concat", [x, f"{x}.flat"], [given], axis=1),
        ]
        nodes.append(helper.make_node("MatMulNBits", [given, numbers, scales], [y], domain="com.microsoft", **sizes))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, WIDTH]) for name in ("h0", f"h{count}")]
    tensors = [numpy_helper.from_array(array, name) for name, array in stored.items()]
    graph = helper.make_graph(nodes, "inside", ends[:1], ends[1:], tensors)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, ir_version=10, opset_imports=opsets).SerializeToString(), count * WIDTH**2


@pytest.mark.slow
@pytest.mark.parametrize("bits", [4, 8])
def test_the_rate_is_that_of_a_graph_with_its_weights_inside(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_node.profile.speed.MATRICES", {bits: MATRICES[bits]})
    content, weights = with_weights_inside(bits)
    cpu = ["CPUExecutionProvider"]
    sessions = [ort.InferenceSession(content, session_options(1), providers=cpu) for _ in range(GRAPHS)]
    feeds = {"h0": np.full((1, WIDTH), 0.1, np.float32)}
    ratios = []
    for _ in range(TRIES):
        best = [math.inf] * GRAPHS
        for _ in range(PASSES):
            for place, session in enumerate(sessions):
                began = time.perf_counter()
                session.run(None, feeds)
                best[place] = min(best[place], time.perf_counter() - began)
        ratios.append(weights_per_s(1, 8e9)[bits] * sum(best) / (GRAPHS * weights))
        if 0.5 < ratios[-1] < 2:
            return
    pytest.fail(f"measured over true: {ratios}")


def test_bits_that_onnx_runtime_does_not_know_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.onnx"
    content = matrices_file(8).read_bytes()
    broken.write_bytes(content.replace(b"\x0a\x04bits\x18\x08", b"\x0a\x04bits\x18\x07"))
    assert broken.read_bytes() != content
    monkeypatch.setattr(
        "edge_node.profile.speed.matrices_file", lambda bits: broken if bits == 8 else matrices_file(bits)
    )
    assert set(weights_per_s(1, 0)) == {2, 4}


def test_a_layer_takes_time_besides_its_weights() -> None:
    assert 1e-6 < layer_s(1) < 1e-1


def test_a_graph_holds_what_it_says() -> None:
    for bits in MATRICES:
        assert 9 * 2**20 < bytes_of(bits) < 14 * 2**20


def test_the_disk_is_that_of_the_nearest_folder(tmp_path: Path) -> None:
    assert room_on_disk(tmp_path / "not" / "there") > 0
    assert math.isclose(room_on_disk(tmp_path / "a"), room_on_disk(tmp_path), rel_tol=0.05)


def test_the_link_is_measured_and_a_broker_may_take_less_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with private_broker(tmp_path, hubs=["h"], nodes=["pi"]) as broker:
        assert link_rate(broker.settings("pi"), "pi") > 1e5
        monkeypatch.setattr("edge_node.link.echo._ECHO_S", 0.5)
        with pytest.raises(BrokerRefused, match="does not come back: its ACL has no rules"):
            link_rate(broker.settings("pi"), "stranger")
        monkeypatch.undo()
        broker.stop()
        config = tmp_path / "mosquitto.conf"
        config.write_text(config.read_text().replace("max_packet_size 720896", "max_packet_size 100000"))
        assert "max_packet_size 100000" in config.read_text()
        broker.start()
        assert link_rate(broker.settings("pi"), "pi") > 1e5
