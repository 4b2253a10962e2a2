"""What the download of a large draft costs the sessions of others, and what its interruptions cost.

A hub with the built-in pair, whose other draft is a file of random bytes; `sled-node pull` fetches it. It is frozen every other
period, which makes a quiet one, and killed now and then. The devices that speak meanwhile are emulated, their rounds are real.

    p95_ratio            p95 of a round, from its draft to its verdict, in periods with the download over that in quiet ones
    p50_ratio            the same of the median
    mb_per_s             of the download, while it ran
    interruptions        how often it was killed
    fetched_twice_bytes  what the hub sent beyond the size of what was wanted: a piece for each interruption at most
    sha256_right         whether the file has come to be what it was
"""

from __future__ import annotations

import itertools
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

from shared.file_hash import sha256_of
from shared.limits import MAX_PIECE
from shared.pair import CURRENT, Pair
from tools.bench.report import progress, quantile, show
from tools.demo import node_command
from tools.rig.drafts import Extra, pair_with_drafts
from tools.rig.fleet import Device, Drafting, Fleet
from tools.rig.killable import Killable
from tools.rig.testbed import HubBed, running_hub
from tools.rig.transport import BrokerTransport

_SPEAKER, _PULLER = "speaker", "puller"
_NAME, _DRAFT = "delivered", "large"
_DRAFTING = Drafting(acceptance=0.8, length=4, ms_per_token=5.0)
_PROMPT, _ANSWER = 24, 400  # ids
_STATS_S = 2.5  # seconds in which the hub has told its figures
_LOOK_S = 0.02
_KILL_EVERY = 6  # periods
_SETTLE_S = 0.3
_START_S = 30.0  # seconds in which a download begins


def run(megabytes: float, seconds: float, sessions: int, rate: str, as_json: bool) -> None:
    """Print the figures above."""
    with tempfile.TemporaryDirectory(prefix="sled-bench-") as name:
        folder = Path(name)
        content = random.Random(0).randbytes(int(megabytes * 1e6))
        pair = pair_with_drafts(folder / _NAME, {_DRAFT: Extra(content)})
        options = ["--threads", "1", "--delivery-rate", rate]
        with running_hub([_SPEAKER, _PULLER], str(pair.folder), options) as bed, progress() as bars:
            transport = BrokerTransport(bed.broker.settings(_SPEAKER), _SPEAKER, bed.latest_stats)
            fleet = Fleet(transport, pair.name, pair.tokenizer_hash())
            rng = random.Random(0)
            fleet.open([Device(n, [rng.randrange(4, 2000) for _ in range(_PROMPT)], _ANSWER) for n in range(sessions)])
            fleet.record()
            task = bars.add_task("downloading, and not", total=len(content) / 1e6)
            trial = _Trial(bed, pair, folder, fleet, seconds)
            trial.begin()
            for number in itertools.count(1):
                trial.quiet_period()
                if not trial.loud_period():
                    break
                if number % _KILL_EVERY == 0:
                    trial.interrupt()
                bars.update(task, completed=trial.delivered / 1e6)
            delivered = int(bed.hub_stats()["delivered_bytes"])
            transport.close()
        figures = {
            "megabytes": megabytes,
            "sessions": sessions,
            "delivery_rate": rate,
            "rounds": [len(trial.quiet), len(trial.loud)],
            "p95_ms": [round(1e3 * quantile(waits, 0.95), 2) for waits in (trial.quiet, trial.loud)],
            "p95_ratio": round(quantile(trial.loud, 0.95) / quantile(trial.quiet, 0.95), 3),
            "p50_ratio": round(quantile(trial.loud, 0.5) / quantile(trial.quiet, 0.5), 3),
            "mb_per_s": round(statistics.mean(trial.rates) / 1e6, 3),
            "interruptions": trial.interruptions,
            "fetched_twice_bytes": delivered - sum(path.stat().st_size for path in trial.version.iterdir()),
            "piece_bytes": MAX_PIECE,
            "sha256_right": sha256_of(trial.version / f"{_DRAFT}.onnx") == sha256_of(pair.drafts[_DRAFT].model),
        }
    show("delivery", figures, as_json)


class _Trial:
    """Short periods with the download and with the download frozen, in turn; now and then it is killed and started again."""

    def __init__(self, bed: HubBed, pair: Pair, folder: Path, fleet: Fleet, seconds: float) -> None:
        self.quiet: list[float] = []  # seconds of each round
        self.loud: list[float] = []
        self.interruptions = 0
        self.rates: list[float] = []  # bytes a second, of each period
        self._bed, self._fleet, self._seconds = bed, fleet, seconds
        data = folder / "data"
        self.version = data / "sled" / "pairs" / pair.name / CURRENT
        pull = node_command(bed.broker.settings(_PULLER), _PULLER, "pull", "--pair", pair.name, "--draft", _DRAFT)
        command = ["nice", "-n", "19", *pull]  # it stands for another machine: it gives way to those who serve
        self._pull = Killable(command, folder / "pull.log", environment={**os.environ, "XDG_DATA_HOME": str(data)})

    def begin(self) -> None:
        """Start the download, and wait until something comes; what it takes until then is nobody's."""
        before, began = self.delivered, time.monotonic()
        self._pull.start()
        while self.delivered == before and self._pull.runs:
            if time.monotonic() > began + _START_S:
                raise RuntimeError(f"no download begins: {self._pull.last_words()}")
            time.sleep(_LOOK_S)

    def quiet_period(self) -> None:
        """Rounds while the download is frozen."""
        self._pull.freeze()
        time.sleep(_SETTLE_S)  # the piece that it has asked for comes still
        self.quiet += self._rounds()
        self._pull.thaw()

    def loud_period(self) -> bool:
        """Rounds beside the download; whether it goes on."""
        began, before = time.monotonic(), self._on_disk
        self.loud += self._rounds()
        if not self.version.exists():  # else the parts have become files
            self.rates.append((self._on_disk - before) / (time.monotonic() - began))
        if not self._pull.runs and not self.version.exists():
            raise RuntimeError(f"the download has failed: {self._pull.last_words()}")
        return self._pull.runs

    def interrupt(self) -> None:
        """Kill the download and start it again."""
        self._pull.kill()
        self.interruptions += 1
        time.sleep(_STATS_S)
        self.begin()

    @property
    def delivered(self) -> int:
        """Bytes that the hub has sent, as it told last."""
        return int(self._bed.latest_stats()["delivered_bytes"])

    @property
    def _on_disk(self) -> int:
        """Bytes that have come."""
        return sum(path.stat().st_size for path in (self.version.parent / "parts").glob("*.part"))

    def _rounds(self) -> list[float]:
        """Seconds of the rounds of all devices in a period, or, if that is shorter, until the download ends."""
        until = time.monotonic() + self._seconds
        self._fleet.start(_DRAFTING)
        while time.monotonic() < until and self._pull.runs:
            time.sleep(_LOOK_S)
        self._fleet.pause()
        if self._fleet.faults:
            raise RuntimeError(f"the hub refuses rounds: {self._fleet.faults[:3]}")
        return [wait for device in self._fleet.devices for wait in device.tally.waits_s]
