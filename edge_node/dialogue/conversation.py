"""A chat: its turns, and each answer as text that grows while tokens commit."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

from edge_node.dialogue.answer import Answer, Ending
from edge_node.dialogue.doubts import Doubts
from edge_node.dialogue.generation import Generation
from edge_node.dialogue.guidance import Guidance
from edge_node.dialogue.provisional import ProvisionalTurn, SettledTurn
from edge_node.dialogue.tokenizer import Asking, ChatTokenizer, Tool, Turn
from edge_node.drafting.guided_drafter import GuidedDrafter
from edge_node.link.channel import Channel
from edge_node.rounds.round_loop import RoundLoop
from shared.errors import AnswerCancelled, PromptTooLong
from shared.grammar import Grammar


class Conversation:
    """Turns of a chat over one round loop."""

    def __init__(
        self,
        tokenizer: ChatTokenizer,
        loop: RoundLoop,
        system: str | None = None,
        guidance: Guidance | None = None,
        guided: GuidedDrafter | None = None,
        doubts: Doubts | None = None,
    ) -> None:
        """`guidance` has the grammars that answers keep to, `guided` is what drafts by them, `doubts` say how sure calls are."""
        self._tokenizer = tokenizer
        self.loop = loop
        self._guidance, self._guided, self._doubts = guidance, guided, doubts
        self._opening = _opening(system)
        self._tools: tuple[Tool, ...] = ()
        self._by_list = True
        self.turns: list[Turn] = list(self._opening)
        self._provisional: list[ProvisionalTurn] = []  # the last turns, as far as they are not verified
        self._drafted: tuple[int, ...] = ()  # ids of the provisional text of the answer in progress

    @property
    def beginning(self) -> list[int]:
        """The ids that all chats under this system message begin with."""
        return self._tokenizer.beginning(self._opening)

    def begin(self) -> Channel | None:
        """Open the session ahead of the first request. Raises SessionError or LinkError.

        None where there is no hub and answers may begin without one.
        """
        self.loop.open()
        return self.loop.channel

    def clear(self) -> None:
        """Forget all turns and begin a new session."""
        self.turns = list(self._opening)
        self._provisional = []
        self.loop.reset()

    def renew(self, system: str | None) -> None:
        """Begin a new chat under another system message, or under none."""
        self._opening = _opening(system)
        self.clear()

    def resume(
        self,
        system: str | None,
        turns: Sequence[Turn],
        unverified: Sequence[ProvisionalTurn],
        tools: Sequence[Tool] = (),
        *,
        by_list: bool = True,
    ) -> None:
        """Go on with another chat: `turns` behind that system message, of which the last are `unverified`; it may call `tools`.

        The session stays, and what both chats begin with is not sent again. `by_list` says that a list of the home in the system message
        has all of it: what is not there is not called.
        """
        self._opening = _opening(system)
        self.turns = [*self._opening, *turns]
        self._provisional = list(unverified)
        self._tools, self._by_list = tuple(tools), by_list

    @property
    def system(self) -> str:
        """The system message; nothing where there is none."""
        return self._opening[0].content if self._opening else ""

    @property
    def unverified(self) -> list[ProvisionalTurn]:
        """The last turns, as far as no hub has verified them."""
        return list(self._provisional)

    @property
    def said(self) -> list[Turn]:
        """The turns behind the system message."""
        return self.turns[len(self._opening) :]

    def ask(
        self, request: str, generation: Generation, answer: Answer, role: Asking = "user"
    ) -> Generator[str, None, None]:
        """Yield the text of the reply piece by piece and fill `answer`. Raises SledError; the turns stay as they were.

        A chat that has outgrown the context goes on in a new session with this request alone, and `answer.notice`
        says so, as it does where the answer goes on at a hub that computes otherwise. Raises PromptTooLong when even that does not fit.

        Where the hub is lost, and the settings let this device go on, empty pieces tell that `answer.provisional` has
        changed. An answer may end so; the next one then begins by having the turn settled, as `answer.settled` tells.
        """
        opened = self.loop.open()
        yield from self._settle(answer)
        answer.sampling = generation.sampling(opened)
        turns = [*self.turns, Turn(role, request)]
        prompt = self._prompt(turns)
        if len(prompt) + max(1, min(generation.max_tokens, opened.context // 8)) > opened.context:
            newest = _newest(turns)
            alone = self._prompt([*self._opening, *newest])
            if len(alone) >= opened.context:
                raise PromptTooLong(
                    f"the prompt has {len(alone)} tokens and the context of {opened.target!r} holds {opened.context}; shorten it"
                )
            if len(prompt) > len(alone):
                self.clear()
                opened = self.loop.open()
                turns, prompt = [*self.turns, *newest], alone
                answer.stats.notices.append("the context was full: earlier turns are forgotten")
        answer.prompt_tokens = len(prompt)
        end_ids = frozenset(opened.end_ids)
        yield from self._generate(
            request, prompt, generation.max_tokens, generation.stop, end_ids, answer, grammar=generation.grammar
        )
        kept = tuple(i for i in answer.ids if i not in end_ids)
        if answer.provisional or self._provisional:
            text, ids = answer.text + answer.provisional, (*kept, *self._drafted)
            if self._provisional:
                # A hub may have written it meanwhile, but behind turns that none has verified.
                answer.text, answer.provisional = "", text
            self._provisional.append(
                ProvisionalTurn(
                    request,
                    text,
                    ids,
                    answer.sampling,
                    generation.max_tokens,
                    generation.stop,
                    role,
                    generation.grammar,
                )
            )
            self.turns = [*turns, *self._provisional[-1].turns[1:]]
        elif answer.ids:
            self.turns = [*turns, self._turn(answer.text, kept)]

    def recalled(self, text: str, ids: Sequence[int]) -> Turn:
        """An answer of an earlier chat: with `ids` only where this pair's tokenizer has them, and they are that text."""
        known = all(0 <= token < self._tokenizer.vocab_size for token in ids)
        turn = self._turn(text, ids) if known else Turn("assistant", text)
        return turn if turn.ids == tuple(ids) else Turn("assistant", text)

    def _settle(self, answer: Answer) -> Iterator[str]:
        """Have the turns that this device has answered alone verified, if a hub is there.

        The target is given what was drafted, and confirms it or writes what it would have. What was drafted behind an
        amended turn answers another chat: the target writes it anew.
        """
        while self._provisional and self.loop.channel is not None:
            turn = self._provisional[0]
            before = self.turns[: len(self.turns) - 2 * len(self._provisional)]
            again = Answer(sampling=turn.sampling)
            prompt = self._prompt([*before, turn.turns[0]])
            drafted = () if any(settled.amended for settled in answer.settled) else turn.ids
            end_ids = frozenset(self.loop.open().end_ids)
            for _ in self._generate(
                turn.request, prompt, turn.max_tokens, turn.stop, end_ids, again, drafted, turn.grammar
            ):
                pass
            answer.stats.notices += again.stats.notices
            if again.provisional:
                return  # the hub is lost again
            kept = tuple(i for i in again.ids if i not in end_ids)
            later = self._provisional[1:]
            self._provisional = later
            self.turns = [
                *before,
                turn.turns[0],
                self._turn(again.text, kept),
                *(each for provisional in later for each in provisional.turns),
            ]
            answer.settled.append(SettledTurn(turn.request, turn.text, again.text))
            yield ""

    def _generate(
        self,
        request: str,
        prompt: list[int],
        max_tokens: int,
        stop: tuple[str, ...],
        end_ids: frozenset[int],
        answer: Answer,
        drafted: tuple[int, ...] = (),
        grammar: Grammar | None = None,
    ) -> Iterator[str]:
        kept: list[int] = []
        visible = 0
        keeps_to, compiled = (None if self._guidance is None else self._guidance.of(grammar)) or (None, None)
        if self._guided is not None:
            self._guided.keep_to(compiled)
        must_keep = grammar is not None
        try:
            for progress in self.loop.answer(
                prompt,
                answer.sampling,
                max_tokens,
                answer.stats,
                drafted,
                keeps_to,
                must_keep=must_keep,
                wants_surprisal=self._doubts is not None and not must_keep,
            ):
                answer.ids += progress.committed
                answer.sources += progress.sources
                answer.surprisal += progress.surprisal
                fresh = [at for at, i in enumerate(progress.committed) if i not in end_ids]
                kept += (progress.committed[at] for at in fresh)
                answer.runs.add(self._tokenizer.decode, kept, [progress.sources[at] for at in fresh])
                text = self._tokenizer.decode(kept)
                cut = _first(text, stop)
                end = len(text) - _held_back(text, stop) if cut is None else cut
                answer.text = text[:end]
                self._look_for_doubt(answer, request, grammar)
                self._drafted = tuple(i for i in progress.provisional if i not in end_ids)
                provisional = self._tokenizer.decode([*kept, *self._drafted])[end:] if self._drafted else ""
                changed, answer.provisional = provisional != answer.provisional, provisional
                if end > visible:
                    yield text[visible:end]
                    visible = end
                elif changed:
                    yield ""
                if cut is not None:
                    answer.provisional = ""
                    answer.ending = Ending.STOP
                    self.loop.cancel()
                    return
        except (GeneratorExit, KeyboardInterrupt, AnswerCancelled):
            self.loop.cancel()
            raise
        if answer.provisional:
            return
        answer.ending = Ending.END if answer.ids and answer.ids[-1] in end_ids else Ending.LENGTH
        answer.text = self._tokenizer.decode(kept)
        self._look_for_doubt(answer, request, grammar)
        if len(answer.text) > visible:
            yield answer.text[visible:]

    def _look_for_doubt(self, answer: Answer, request: str, grammar: Grammar | None) -> None:
        """Say of an answer with calls how sure they are, before anybody is told what it says of them. What keeps to a schema has none."""
        if self._doubts is not None and grammar is None:
            listed = self.system if self._by_list else ""
            answer.doubt = self._doubts.about(answer.text, answer.ids, answer.surprisal, request, listed)

    def _prompt(self, turns: Sequence[Turn]) -> list[int]:
        return self._tokenizer.prompt(turns, self._tools)

    def _turn(self, text: str, ids: Sequence[int]) -> Turn:
        """The answer for the history: with its ids, or those of them whose text it is after a stop string."""
        for length in range(len(ids), -1, -1):
            decoded = self._tokenizer.decode(ids[:length])
            if decoded == text:
                return Turn("assistant", text, tuple(ids[:length]))
            if len(decoded) < len(text):
                break
        return Turn("assistant", text)


def _newest(turns: Sequence[Turn]) -> Sequence[Turn]:
    """The last request with what came of its calls, which say nothing without it."""
    at = next((at for at in range(len(turns) - 1, -1, -1) if turns[at].role == "user"), len(turns) - 1)
    return turns[at:]


def _opening(system: str | None) -> list[Turn]:
    """The turns that a chat begins with."""
    return [Turn("system", system)] if system else []


def _first(text: str, stops: Sequence[str]) -> int | None:
    """Where the first of `stops` begins in `text`."""
    found = [at for at in (text.find(stop) for stop in stops) if at >= 0]
    return min(found, default=None)


def _held_back(text: str, stops: Sequence[str]) -> int:
    """How many characters at the end are not shown yet: half a stop string, or an unfinished character."""
    unfinished = len(text) - len(text.rstrip("\ufffd"))
    for size in range(min(len(text), max(map(len, stops), default=0)), 0, -1):
        if any(len(stop) > size and stop.startswith(text[-size:]) for stop in stops):
            return max(size, unfinished)
    return unfinished
