"""Who decodes: whether a session speculates or lets the hub stream, from what was measured live."""

from __future__ import annotations

from edge_node.rounds.pace import Pace
from edge_node.settings import Mode

_FIRST_LOOKS = 16  # tokens drafted beside the first stream, and some more where these do not decide
_LOOKS = 4  # tokens drafted beside a stream, to see what drafts would be worth,
_LOOK_EVERY = 64  # each time that so many tokens were streamed,
_LOOK_SELDOM = 512  # or so many where drafting is far too slow
_FIRST_REST = 64  # streamed tokens before blocks are tried again that were computed to be faster and were not,
_LONGEST_REST = 4096  # twice as many each time
_PROVEN = 32  # rounds after which blocks have shown what they are worth


class Gate:
    """Chooses before every round. To know what drafts are worth, a streaming node drafts beside the stream now and then.

    That costs no time, and nothing has to be tried that may be slower.
    """

    def __init__(self, pace: Pace, mode: Mode) -> None:
        self.streams = mode is not Mode.SPECULATE  # at present
        self._pace = pace
        self._mode = mode
        self._looks = _FIRST_LOOKS  # tokens still to be drafted beside the stream
        self._unseen = 0  # tokens streamed since one was
        self._rest = 0  # tokens to be streamed before blocks are tried again
        self._next_rest = _FIRST_REST

    @property
    def spies(self) -> bool:
        """Whether a token should be drafted beside the stream."""
        return self._mode is Mode.AUTO and self._looks > 0

    def spied(self) -> None:
        """A token was drafted beside the stream."""
        self._looks = 0 if self._pace.hopeless else self._looks - 1

    def choose(self, longest: int, advised: int | None) -> bool:
        """Whether to stream from here on. `longest` is that of useful blocks, `advised` the hub's, 0: it asks to stream."""
        if self._mode is Mode.STREAM:
            return True
        if advised == 0:
            self.streams = True
        elif self._mode is Mode.SPECULATE:
            self.streams = False
        elif self._rest <= 0 and self._pace.prefers_streaming(self.streams, longest) != self.streams:
            self._switch()
        if self.streams and self._looks == 0 and self._pace.may_gain(longest):
            self._looks = 1  # to be sure of it
        return self.streams

    def streamed(self, tokens: int) -> None:
        """Count tokens that came while streaming."""
        self._rest -= tokens
        self._unseen += tokens
        if self._unseen >= (_LOOK_SELDOM if self._pace.hopeless else _LOOK_EVERY):
            self._unseen = 0
            self._looks = 1 if self._pace.hopeless else _LOOKS

    def speculated(self, seconds: float, tokens: int) -> None:
        """Count a round of speculation, with or without a block."""
        self._pace.round_s.add(seconds)
        self._pace.round_tokens.add(tokens)
        if self._pace.round_s.count == _PROVEN:
            self._next_rest = _FIRST_REST

    def _switch(self) -> None:
        self.streams = not self.streams
        if self.streams:
            self._rest, self._next_rest = self._next_rest, min(2 * self._next_rest, _LONGEST_REST)
        self._pace.forget_rounds()
