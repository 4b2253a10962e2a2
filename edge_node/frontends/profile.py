"""`sled-node profile`: what this device can do for a draft."""

from __future__ import annotations

import json
from pathlib import Path

from edge_node.link.echo import link_rate
from edge_node.profile.measure import measure
from edge_node.settings import NodeSettings
from shared.device_profile import DeviceProfile, to_json
from shared.errors import LinkError, SettingsError
from shared.private_file import PUBLIC, write_file
from shared.program import sentence
from shared.settings import shown
from shared.streams import note, put_json, put_line
from shared.table import put_table

_UNKNOWN = 1.0  # MB/s that are taken where the link can't be measured
_FASTEST = 1e6  # MB/s


def show_profile(settings: NodeSettings, *, out: Path | None, link: float | None, as_json: bool) -> None:
    """Measure, and print it as a table or as one JSON object, or write that to the file `out`.

    `link` is the rate from the broker in MB/s, measured where it is None. Raises SettingsError.
    """
    if link is not None and not 0 < link <= _FASTEST:
        raise SettingsError(f"--link must be a number of MB/s above 0 and up to {_FASTEST:g}, not {shown(link)}")
    rate = _measured_link(settings) if link is None else 1e6 * link
    profile = measure(settings, rate)
    if out is not None:
        _write(profile, out)
    if as_json:
        put_json(to_json(profile))
        return
    put_table(("device", profile.name), _rows(profile))
    if out is not None:
        put_line(f"written to {out}; name it to the hub with: sled-hub pair plan --device {out.name}")


def _measured_link(settings: NodeSettings) -> float:
    """Bytes a second; a guess, and a line on standard error that says so, where the broker does not answer."""
    try:
        return link_rate(settings.broker, settings.name)
    except LinkError as error:
        note(
            f"sled-node: the link was not measured, {_UNKNOWN:g} MB/s is taken for it; "
            f"give the rate with --link, or mend this: {sentence(str(error))}"
        )
        return 1e6 * _UNKNOWN


def _rows(profile: DeviceProfile) -> list[tuple[str, str]]:
    return [
        ("free memory", f"{profile.memory / 1e9:.2f} GB"),
        ("free disk", f"{profile.disk / 1e9:.2f} GB"),
        ("from the broker", f"{profile.link / 1e6:.2f} MB/s"),
        ("memory bandwidth", f"{profile.bandwidth / 1e9:.2f} GB/s"),
        *(
            (f"weights of {bits} bits", f"{rate / 1e9:.2f} billion/s")
            for bits, rate in sorted(profile.weights_per_s.items())
        ),
        ("a layer besides", f"{1e6 * profile.layer_s:.0f} us"),
    ]


def _write(profile: DeviceProfile, out: Path) -> None:
    try:
        write_file(out, json.dumps(to_json(profile), indent=2) + "\n", PUBLIC)
    except OSError as error:
        raise SettingsError(f"cannot write {out}: {error.strerror}; name another file with --out") from None
