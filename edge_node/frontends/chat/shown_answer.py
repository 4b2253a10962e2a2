"""An answer on the screen while it grows: what is said, calls, and behind them, dim, what no hub has verified."""

from __future__ import annotations

import json

from edge_node.dialogue.answer import Answer
from edge_node.dialogue.calls import Call, CallReader, RefusedCall
from edge_node.dialogue.lines import AnswerLines, Part
from edge_node.dialogue.report import told_doubt
from edge_node.frontends.chat.screen import CALL, DIM, RED, Screen
from edge_node.rounds.progress import Source
from shared.program import sentence

COLOURS = {Source.DRAFTED: "green", Source.CORRECTED: "bold underline red", Source.TARGET: "italic cyan"}
_NOT_DONE = "nothing was carried out: sled-node run has Home Assistant or a program do it"


class ShownAnswer:
    """Every character of the answer's text is shown once. A call is shown when its line is whole."""

    def __init__(self, screen: Screen, reader: CallReader, answer: Answer, *, traces: bool = False) -> None:
        """With `traces` the text is shown as it is, in the colours of its sources."""
        self._screen, self._reader, self._answer = screen, reader, answer
        self._lines = AnswerLines(has_calls=reader.has_calls)
        self._settled = 0  # earlier turns that were told of
        self._text = ""  # committed
        self._provisional = ""  # on the screen behind it, not verified yet
        self._shown = 0  # characters of both that are on the screen
        self._traces = traces
        self._calls = 0

    def take(self, piece: str) -> None:
        """Show what is new: a piece of committed text, and what has changed behind it."""
        self._tell_settled()
        if piece:
            self._commit(piece)
        fresh = self._answer.provisional
        if fresh != self._provisional and fresh.startswith(self._provisional):
            self._screen.show((self._text + fresh)[self._shown :], DIM)
            self._provisional = fresh
            self._shown = len(self._text) + len(fresh)
        elif self._lines.held and self._screen.at_start:
            self._screen.wait("a call")

    def finish(self) -> None:
        """Show what was held, and say of calls what became of them. The cursor is at the beginning of a line then."""
        for part in self._lines.finish():
            self._show(part)
        self._screen.fresh()
        if self._answer.question:
            self._screen.line(told_doubt(self._answer), style=DIM)
        elif self._calls:
            for call in self._reader.read(self._answer.meant).calls if self._answer.doubt.as_listed else ():
                self._screen.line(f"as the home has it: {call_in_words(call)}", style=DIM)
            self._screen.line(_NOT_DONE, style=DIM)

    def _tell_settled(self) -> None:
        for turn in self._answer.settled[self._settled :]:
            self._settled += 1
            said = f"amended: {turn.now}" if turn.amended else "confirmed"
            self._screen.line(f"“{turn.request}” was {said}", style=DIM)

    def _commit(self, piece: str) -> None:
        if self._provisional.startswith(piece):
            self._provisional = self._provisional[len(piece) :]  # it stands there already, and is confirmed
        elif piece.startswith(self._provisional):
            self._provisional = ""
        else:
            self._screen.show("\n[amended] ")
            self._shown, self._provisional = len(self._text), ""
        self._text += piece
        if self._traces:
            self._trace()
        for part in self._lines.take(piece):
            self._show(part)

    def _trace(self) -> None:
        """Show what has come, run by run."""
        for source, length in self._answer.runs.between(self._shown, len(self._text)):
            self._screen.show(self._text[self._shown : self._shown + length], COLOURS[source])
            self._shown += length

    def _show(self, part: Part) -> None:
        """Show of a part what is not on the screen yet, and of a call that is refused why."""
        read = self._reader.read_call(part.text) if part.is_call else None
        self._calls += isinstance(read, Call)
        if self._shown <= part.start:
            self._show_whole(part, read)
        elif self._shown < part.end:
            self._screen.show(self._text[self._shown : part.end], CALL if part.is_call else "")
        if self._shown > part.start and isinstance(read, RefusedCall):
            self._screen.line(f"✗ refused: {sentence(read.error)}", style=RED)
        self._shown = max(self._shown, part.end)

    def _show_whole(self, part: Part, read: Call | RefusedCall | None) -> None:
        if read is None:
            self._screen.show(part.text)
        elif isinstance(read, Call):
            self._screen.fresh()
            self._screen.show(f"→ {call_in_words(read)}\n", CALL)
        else:
            self._screen.fresh()
            self._screen.show(f"✗ {sentence(read.text)}\n", RED)
            self._screen.line(f"  refused: {sentence(read.error)}", style=RED)


def call_in_words(call: Call) -> str:
    """A call in a line: its name, and each argument with its value as JSON."""
    arguments = (f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in call.arguments.items())
    return " ".join((call.name, *arguments))
