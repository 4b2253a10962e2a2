"""The chat template of a pair, rendered by a process of its own that `template_worker.py` bounds."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from shared.errors import PairError
from shared.text_file import read_text

_WORKER = Path(__file__).with_name("template_worker.py")
_FROM_CONFIG = {"bos_token", "eos_token"}  # variables without which a template that uses them writes another prompt


class ChatTemplate:
    """A template that turns messages into the text of a prompt.

    It may compute for 2 to 3 seconds of a processor's time and hold 256 MiB for each prompt, and for being read; past
    that its process ends, and the next prompt starts another. What is not bounded is how long the process waits for a
    processor that is busy otherwise. Threads take turns.
    """

    def __init__(self, path: Path, variables: Mapping[str, Any] | None) -> None:
        """Start reading the template; `loaded` ends it. Raises PairError when there is no such text.

        `variables` are those that it may use besides the messages, such as `bos_token`; None when they are not known.
        """
        if find_spec("jinja2") is None:
            raise ModuleNotFoundError("No module named 'jinja2'", name="jinja2")
        self._path = path
        self._known = variables is not None
        self._opening = {"source": read_text(path, "the chat template", PairError), "variables": dict(variables or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()  # a request and its reply are one step
        self._start()

    def loaded(self) -> ChatTemplate:
        """This template, once its process has read it. Raises PairError when it is no template that can be used."""
        reply = self._reply()
        if "error" in reply:
            raise PairError(f"{self._path} is not a valid chat template: {reply['error']}")
        lacking = sorted(_FROM_CONFIG.intersection(reply["undefined"]))
        if lacking and not self._known:
            raise PairError(
                f"{self._path} uses {' and '.join(lacking)}; copy the model's tokenizer_config.json, which says what that is, "
                "beside the pair's tokenizer file"
            )
        return self

    def render(self, messages: Sequence[Mapping[str, str]], tools: Sequence[Mapping[str, Any]] = ()) -> str:
        """The text of a chat up to where the assistant begins to write, which may call `tools`. Raises PairError."""
        with self._turn:
            return self._rendered({"messages": messages, "tools": tools or None})

    def _rendered(self, chat: Mapping[str, Any]) -> str:
        if self._process is None:
            self._start()
            self.loaded()
        try:
            self._send(chat)
            reply = self._reply()
        except BaseException:  # such as Ctrl-C: a reply that nobody read would be taken for the next one
            self._stop()
            raise
        if "error" in reply:
            raise PairError(f"the chat template refuses these messages: {reply['error']}")
        text: str = reply["text"]
        return text

    def _start(self) -> None:
        # A session of its own: Ctrl-C in the terminal is the node's to handle, and the end of standard input ends the process.
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this package's own file
                [sys.executable, str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise PairError(f"cannot start the process that renders {self._path}: {error.strerror}") from None
        self._end = weakref.finalize(self, _end, self._process)
        self._send(self._opening)

    def _send(self, request: Mapping[str, Any]) -> None:
        assert self._process is not None
        stdin = _pipe(self._process.stdin)
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: what is read next says so

    def _reply(self) -> dict[str, Any]:
        assert self._process is not None
        line = _pipe(self._process.stdout).readline()
        if line.endswith(b"\n"):
            reply: dict[str, Any] = json.loads(line)
            return reply
        status = self._stop()
        if status == -signal.SIGXCPU:
            raise PairError(f"{self._path} computes for seconds and comes to no end; use another chat template")
        raise PairError(
            f"the process that renders {self._path} ended (status {status}): the template needs too much memory or nests too "
            "deep; use another chat template, or shorter messages"
        )

    def _stop(self) -> int | None:
        """End the process, if there is one; the status with which it ended."""
        ended, self._process = self._process, None
        self._end()
        return None if ended is None else ended.returncode


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()
