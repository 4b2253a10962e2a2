"""What keys do in a chat's line: Enter, Ctrl-C and Tab."""

from __future__ import annotations

from collections.abc import Iterable

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.filters import is_searching
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from edge_node.frontends.chat.commands import NAMES, is_open
from edge_node.settings import Mode

_BEHIND = {"mode": tuple(mode.value for mode in Mode), "seed": ("random",)}
_FILES = ("save", "load")


def keys() -> KeyBindings:
    """Those that differ from the editor's own."""
    bindings = KeyBindings()

    @bindings.add("enter", filter=~is_searching)
    def _(event: KeyPressEvent) -> None:
        if is_open(event.current_buffer.text):
            event.current_buffer.insert_text("\n")
        else:
            event.current_buffer.validate_and_handle()

    @bindings.add("c-c", filter=~is_searching)
    @bindings.add("<sigint>")
    def _(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt(), style="class:aborting")

    return bindings


class CommandCompleter(Completer):
    """Completes the names of commands, and what may stand behind them."""

    def __init__(self) -> None:
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What the text in front of the cursor may become."""
        text = document.text_before_cursor
        if not text.startswith("/"):
            return
        name, space, rest = text[1:].partition(" ")
        if space and name in _FILES:
            yield from self._paths.get_completions(Document(rest), complete_event)
            return
        begun, words = (rest, _BEHIND.get(name, ())) if space else (name, NAMES)
        yield from (Completion(word, -len(begun)) for word in words if word.startswith(begun.lower()))
