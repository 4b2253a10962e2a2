"""Who decodes: whether a session speculates or lets the hub stream, from what was measured live."""

from __future__ import annotations

from edge_node.drafting.drift import Drift
from edge_node.rounds.pace import Pace
from edge_node.settings import Mode
from shared.running_mean import RunningMean

_FIRST_PROBES = 16  # tokens drafted beside the first stream; more follow where these do not decide
_PROBES = 4  # tokens drafted at each later probe
_PROBE_EVERY = 64  # streamed tokens from probe to probe
_PROBE_SELDOM = 512  # streamed tokens from probe to probe, where drafting is far too slow
_FIRST_REST = 64  # streamed tokens before blocks are tried again, after they were computed to be faster and were not
_LONGEST_REST = 4096  # streamed tokens; each rest is twice as long as the one before, up to this
_PROVEN = 32  # rounds after which blocks have shown what they are worth
_ROUNDS = 8  # rounds after which the time that they took counts as much as the computed one: few are a matter of luck


class Gate:
    """Chooses before every round. To know what drafts are worth, a streaming node drafts beside the stream now and then: a probe.

    A probe costs no time, and nothing has to be tried that may be slower. Probes also show whether a draft model whose acceptance has
    fallen has recovered: until then the hub streams, or blocks are drafted without the model.
    """

    def __init__(self, pace: Pace, mode: Mode, drift: Drift | None = None, *, looks_up_instead: bool = False) -> None:
        """`drift` is the draft model's; `looks_up_instead` says that where it has fallen the drafter goes on without the model."""
        self.streams = mode is not Mode.SPECULATE  # at present
        self._pace = pace
        self._mode = mode
        self._drift, self._looks_up_instead = drift, looks_up_instead
        self._probes = _FIRST_PROBES  # tokens still to be drafted beside the stream
        self._unprobed = 0  # tokens streamed since one was
        self._rest = 0  # tokens to be streamed before blocks are tried again
        self._next_rest = _FIRST_REST
        self._round_s = RunningMean()  # seconds from a verdict to the next, while speculating of late
        self._round_tokens = RunningMean()  # tokens committed in them

    def follow(self, mode: Mode) -> None:
        """Choose by another mode from the next round on."""
        self._mode = mode
        self.streams = mode is not Mode.SPECULATE

    @property
    def leaves_out_model(self) -> bool:
        """Whether blocks are not to be the draft model's, since its acceptance has fallen."""
        return self._mode is Mode.AUTO and self._drift is not None and self._drift.fallen

    @property
    def wants_probe(self) -> bool:
        """Whether a token should be drafted beside the stream."""
        return self._mode is Mode.AUTO and self._probes > 0

    def probed(self) -> None:
        """A token was drafted beside the stream."""
        self._probes = 0 if self._pace.drafts_too_slowly else self._probes - 1

    def choose(self, longest: int, advised: int | None) -> bool:
        """Whether to stream from here on. `longest` is that of useful blocks, `advised` the hub's, 0: it asks to stream."""
        if self._mode is Mode.STREAM:
            return True
        if advised == 0 or (self.leaves_out_model and not self._looks_up_instead):
            self.streams = True
        elif self._mode is Mode.SPECULATE:
            self.streams = False
        elif self._rest <= 0 and self._prefers_streaming(longest) != self.streams:
            self._switch()
        if self.streams and self._probes == 0 and self._pace.may_gain(longest):
            self._probes = 1  # to be sure of it
        return self.streams

    def streamed(self, tokens: int) -> None:
        """Count tokens that came while streaming."""
        self._rest -= tokens
        self._unprobed += tokens
        slow = self._pace.drafts_too_slowly
        if self._unprobed >= (_PROBE_SELDOM if slow else _PROBE_EVERY):
            self._unprobed = 0
            self._probes = 1 if slow else _PROBES

    def speculated(self, seconds: float, tokens: int) -> None:
        """Count a round of speculation, with or without a block."""
        self._round_s.add(seconds)
        self._round_tokens.add(tokens)
        if self._round_s.count == _PROVEN:
            self._next_rest = _FIRST_REST

    def _prefers_streaming(self, longest: int) -> bool:
        """Whether a streamed token takes less time than one of drafted blocks; as it is now where nothing is known."""
        return self._speculating_s(longest) > self._pace.stream_s if self._pace.known else self.streams

    def _speculating_s(self, longest: int) -> float:
        """Seconds for a token with drafted blocks: as computed, and more and more what the last ones took."""
        computed = self._pace.cautious_s(longest)
        measured, rounds = self._round_s.value / max(self._round_tokens.value, 1e-9), self._round_s.count
        return (_ROUNDS * computed + rounds * measured) / (_ROUNDS + rounds)

    def _switch(self) -> None:
        self.streams = not self.streams
        if self.streams:
            self._rest, self._next_rest = self._next_rest, min(2 * self._next_rest, _LONGEST_REST)
        self._round_s, self._round_tokens = RunningMean(), RunningMean()
