"""A program that is killed, frozen and started again while others go on."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from tools.rig.process import dying_with_parent

_GRACE_S = 15.0


class Killable:
    """A command that can be started again and again. Its output is appended to a log; `pipes` gives it stdin and stdout as pipes.

    It is to be started from the program's main thread: a child dies with the thread that started it.
    """

    def __init__(
        self, command: Sequence[str], log: Path, *, pipes: bool = False, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = command
        self._log = log
        self._pipes = pipes
        self._environment = dict(environment or os.environ)
        self._process: subprocess.Popen[bytes] | None = None
        self.is_frozen = False

    def start(self) -> None:
        """Start it."""
        with self._log.open("ab") as sink:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE if self._pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if self._pipes else sink,
                stderr=sink,
                start_new_session=True,
                env=self._environment,
                preexec_fn=dying_with_parent(),  # noqa: PLW1509 - it makes one system call
            )
        self.is_frozen = False

    @property
    def pid(self) -> int:
        """Its process id, 0 where it does not run."""
        return self._process.pid if self.runs and self._process is not None else 0

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended, frozen or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        """What it reads and what it writes."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def last_words(self, longest: int = 1000) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-longest:]

    def kill(self) -> None:
        """End it at once, without a chance to say farewell."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def ask_to_end(self) -> None:
        """Tell it to end, as systemd does."""
        self.thaw()
        self._signal(signal.SIGTERM)

    def end(self) -> None:
        """Ask it to end, and wait; after a while it is killed."""
        self.ask_to_end()
        if self._process is not None:
            try:
                self._process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def freeze(self) -> None:
        """Stop it where it is; its connections stay open."""
        self._signal(signal.SIGSTOP)
        self.is_frozen = True

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)
        self.is_frozen = False

    def _signal(self, number: signal.Signals) -> None:
        if self.runs and self._process is not None:
            self._process.send_signal(number)
