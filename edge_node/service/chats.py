"""The chats that a service remembers: what was said in each, for as long as somebody goes on with it."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from edge_node.dialogue.provisional import ProvisionalTurn
from edge_node.dialogue.tokenizer import Turn
from edge_node.home_assistant.confirming import Question

_MOST, _MOST_OF_ONE = 256, 64  # chats of all askers, and of one


@dataclass(eq=False)
class Chat:
    """A chat. `system` is the message that its first request gave."""

    system: str | None
    is_named: bool = True  # whether anybody can go on with it
    turns: tuple[Turn, ...] = ()
    unverified: tuple[ProvisionalTurn, ...] = ()  # the last turns, as far as no hub has verified them
    used_at: float = 0.0
    pending: int = 0  # requests that wait or are answered
    is_answered: bool = False  # whether an answer is in progress
    question: Question | None = None  # what a yes would be to


class Chats:
    """By asker and name. What nobody has gone on with for `lifetime_s` seconds is forgotten."""

    def __init__(self, lifetime_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lifetime_s, self._clock = lifetime_s, clock
        self._chats: OrderedDict[tuple[str, str], Chat] = OrderedDict()  # the one that was used last stands last

    def __len__(self) -> int:
        return len(self._chats)

    def is_pending(self, asker: str, name: str) -> bool:
        """Whether a request of that chat waits or is answered."""
        chat = self._chats.get((asker, name))
        return chat is not None and chat.pending > 0

    def find(self, asker: str, name: str, system: str | None) -> Chat:
        """That chat, or a new one. One that is given another system message than before begins anew."""
        self.forget_old()
        chat = self._chats.pop((asker, name), None)
        if chat is None or (system is not None and system != chat.system):
            chat = Chat(system)
        self._chats[asker, name] = chat
        chat.used_at = self._clock()
        own = [key for key in self._chats if key[0] == asker]
        if len(own) > _MOST_OF_ONE or len(self._chats) > _MOST:
            candidates = own if len(own) > _MOST_OF_ONE else list(self._chats)
            for key in candidates[:-1]:
                if not self._chats[key].pending:
                    del self._chats[key]
                    break
        return chat

    def forget_questions(self) -> None:
        """Have no yes be to anything any more."""
        for chat in self._chats.values():
            chat.question = None

    def forget_old(self) -> None:
        """Forget the chats whose time is over."""
        oldest = self._clock() - self._lifetime_s
        for key in [key for key, chat in self._chats.items() if chat.used_at < oldest and not chat.pending]:
            del self._chats[key]
