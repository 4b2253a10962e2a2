"""The chats that a service remembers: what was said in each, for as long as somebody goes on with it."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge_node.dialogue.tokenizer import Turn

_MOST = 256


@dataclass
class Chat:
    """A chat. `system` is the message that its first request gave."""

    system: str | None
    turns: Sequence[Turn] = ()
    used_at: float = 0.0
    is_answered: bool = field(default=False)  # whether an answer is in progress


class Chats:
    """By asker and name. What nobody has gone on with for `lifetime_s` seconds is forgotten."""

    def __init__(self, lifetime_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lifetime_s, self._clock = lifetime_s, clock
        self._chats: OrderedDict[tuple[str, str], Chat] = OrderedDict()  # the one that was used last stands last

    def __len__(self) -> int:
        return len(self._chats)

    def find(self, asker: str, name: str, system: str | None) -> Chat:
        """That chat, or a new one. One that is given another system message than before begins anew."""
        self.forget_old()
        key = asker, name
        chat = self._chats.pop(key, None)
        if chat is None or (system is not None and system != chat.system and not chat.is_answered):
            chat = Chat(system)
        self._chats[key] = chat
        chat.used_at = self._clock()
        while len(self._chats) > _MOST:
            self._chats.pop(next(each for each, chat in self._chats.items() if not chat.is_answered or each == key))
        return chat

    def forget_old(self) -> None:
        """Forget the chats whose time is over."""
        oldest = self._clock() - self._lifetime_s
        for key in [key for key, chat in self._chats.items() if chat.used_at < oldest and not chat.is_answered]:
            del self._chats[key]
