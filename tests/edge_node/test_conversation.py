"""The turns that a chat begins with."""

from __future__ import annotations

from typing import Any, cast

from edge_node.dialogue.conversation import Conversation
from edge_node.dialogue.tokenizer import Turn


class CountingLoop:
    """Counts the sessions that were left."""

    left = 0

    def reset(self) -> None:
        self.left += 1


def test_a_renewed_chat_keeps_its_system_message_when_cleared() -> None:
    loop = CountingLoop()
    conversation = Conversation(cast(Any, None), cast(Any, loop), "Areas: hall")
    for system, opening in (("Areas: barn", [Turn("system", "Areas: barn")]), (None, []), ("", [])):
        conversation.turns.append(Turn("user", "hello"))
        conversation.renew(system)
        assert conversation.turns == opening
        conversation.turns.append(Turn("user", "hello"))
        conversation.clear()
        assert conversation.turns == opening
    assert loop.left == 6
