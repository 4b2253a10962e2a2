"""Measures this device."""

from __future__ import annotations

import onnxruntime as ort

from edge_node.delivery.store import room_on_disk
from edge_node.drafting.onnx_options import threads_for
from edge_node.profile.probe import bytes_of
from edge_node.profile.speed import layer_s, weights_per_s
from edge_node.settings import NodeSettings
from shared.device_profile import ALWAYS, DeviceProfile
from shared.errors import SettingsError
from shared.manifest import is_name
from shared.memory import available_memory, memory_bandwidth
from shared.pair import pulled_folder
from shared.settings import shown


def measure(settings: NodeSettings, link: float) -> DeviceProfile:
    """What this device can do; `link` is the rate from the broker, bytes a second. It takes some seconds. Raises SettingsError."""
    if not is_name(settings.name):
        raise SettingsError(f"{shown(settings.name)} is no name for a device profile; give it another with --name")
    memory = available_memory()
    if memory is None:
        raise SettingsError(
            "this system does not tell how much memory is free, so that nothing can be measured; write the profile by hand, as docs/devices.md says"
        )
    threads = settings.threads or threads_for(bytes_of(max(ALWAYS)))
    rates = weights_per_s(threads, memory)
    for bits in ALWAYS:
        if bits not in rates:
            raise SettingsError(
                f"ONNX Runtime {ort.__version__} does not multiply by weights of {bits} bits here; install another version"
            )
    return DeviceProfile(
        name=settings.name,
        memory=memory,
        disk=_disk(),
        link=link,
        bandwidth=memory_bandwidth(),
        weights_per_s=rates,
        layer_s=layer_s(threads),
    )


def _disk() -> int:
    folder = pulled_folder()
    try:
        return room_on_disk(folder)
    except OSError as error:
        raise SettingsError(
            f"cannot see how much room there is for {folder}: {error.strerror}; set XDG_DATA_HOME to a folder that can be read"
        ) from None
