"""The pair that the settings name, and the draft of it that this device uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from edge_node.delivery.choice import best, this_device
from edge_node.delivery.pull import AUTO
from edge_node.delivery.store import PairStore
from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from edge_node.drafting.byte_vocabulary import ByteVocabulary
from edge_node.drafting.calibration import Calibration
from edge_node.drafting.drafter import Drafter, first_tokens
from edge_node.drafting.drift import Drift, drift_file
from edge_node.drafting.ngram import Cascade, NgramDrafter
from edge_node.drafting.onnx_drafter import SOURCE, OnnxDrafter
from edge_node.drafting.translating_drafter import OwnDrafts, TranslatingDrafter
from edge_node.drafting.translation import TranslatedText, Translation
from edge_node.settings import DrafterKind, NodeSettings
from shared.errors import PairError
from shared.pair import DEFAULT, Draft, Pair, load_pair, pair_folder
from shared.program import sentence
from shared.sampling_parameters import Sampling
from shared.streams import note
from shared.vocabulary import read_tokenizer

_TRIED = 4  # tokens that a draft must draft before it is used


class Loaded(NamedTuple):
    """A pair, and what was loaded of it."""

    pair: Pair
    tokenizer: ChatTokenizer
    model: DraftModel | None  # None where the settings have no use for one, or the pair has none
    kept: str  # where calibration is kept
    drift: Drift | None  # of the model


def store_of(settings: NodeSettings) -> PairStore | None:
    """The store that the pair is from; None for a built-in pair, a folder, or one that is not there."""
    folder = pair_folder(settings.pair)
    return None if folder is None else PairStore.of(folder)


def load(settings: NodeSettings, *, speculates: bool) -> Loaded:
    """The pair that the settings name, and its draft if the device `speculates`. Raises SledError."""
    pair = load_pair(settings.pair)
    tokenizer = ChatTokenizer(pair)
    draft = chosen_draft(pair, settings.draft) if speculates else None
    model = pick_model(settings, pair, tokenizer) if speculates else None
    of_draft = "" if draft is None or draft.name == DEFAULT else f"-{draft.name}"
    drift = None
    if draft is not None and model is not None:
        drift = Drift(pair.version_of(draft), SOURCE, draft.acceptance, drift_file(pair.name))
    return Loaded(pair, tokenizer, model, f"{pair.name}{of_draft}-{settings.drafter.value}", drift)


def tried(loaded: Loaded) -> Loaded:
    """`loaded`, if its model drafts. Raises PairError, or whatever goes wrong."""
    if loaded.model is not None:
        ids = loaded.tokenizer.prompt([Turn("user", "hello")])
        if not first_tokens(loaded.model.speaker(loaded.model.graph), ids, _TRIED, Sampling()):
            raise PairError(f"{loaded.model.graph.path} drafts nothing")
    return loaded


def go_back(store: PairStore, error: Exception) -> None:
    """Have the version before used again, and say why. Raises DeliveryError."""
    note(f"the draft that was fetched last can't be used ({sentence(str(error))}); the one before is used again")
    store.go_back()


def chosen_draft(pair: Pair, wanted: str) -> Draft | None:
    """The draft of that name, or with AUTO the one that suits this device best; None where the pair has none. Raises PairError."""
    drafts = list(pair.drafts.values())
    if wanted != AUTO and wanted not in pair.drafts:
        raise PairError(
            f"the pair {pair.name!r} has no draft {wanted!r} here; there are: {', '.join(pair.drafts) or 'none'}; "
            "fetch one with: sled-node pull --draft NAME"
        )
    if wanted != AUTO:
        return pair.drafts[wanted]
    chosen = drafts[0] if len(drafts) == 1 else best(drafts, this_device()) if drafts else None
    if drafts and chosen is None:
        raise PairError(
            f"no draft of the pair {pair.name!r} fits this device's memory; use --drafter ngram or --mode stream"
        )
    return chosen


class DraftModel(NamedTuple):
    """A pair's draft, loaded."""

    graph: OnnxDrafter
    translation: Translation | None  # where its ids are not the target's

    def another(self) -> DraftModel:
        """The same for another conversation."""
        return self._replace(graph=self.graph.another())

    def speaker(self, drafts: OwnDrafts) -> Drafter:
        """A drafter in the target's ids; `drafts` is the graph, or drafts by it."""
        return drafts if self.translation is None else TranslatingDrafter(drafts, self.translation)

    def own_ids(self, ids: Sequence[int]) -> Sequence[int]:
        """The ids of a text in the draft's vocabulary."""
        return ids if self.translation is None else TranslatedText(self.translation).follow(ids)


def pick_model(settings: NodeSettings, pair: Pair, tokenizer: ChatTokenizer) -> DraftModel | None:
    """The draft, if the settings have a use for it. Raises PairError when they need it and the pair has none."""
    kind = settings.drafter
    if kind is DrafterKind.NGRAM or (kind is DrafterKind.AUTO and not pair.drafts):
        return None
    return load_draft(pair, settings.threads, tokenizer, settings.draft)


def pick_drafter(
    settings: NodeSettings,
    tokenizer: ChatTokenizer,
    model: Drafter | None,
    calibration: Calibration,
    leaves_out_model: Callable[[], bool] = lambda: False,
) -> Drafter:
    """The drafter that the settings name; `model` is what `pick_model` gave, or drafts by it.

    Where n-grams can go on alone they do while `leaves_out_model` says so.
    """
    lookup = NgramDrafter(tokenizer.end_ids)
    if model is None:
        return lookup
    if settings.drafter is DrafterKind.MODEL:
        return model
    if not settings.looks_up_instead:
        return Cascade(lookup, model, calibration, SOURCE)
    return Cascade(lookup, model, calibration, SOURCE, leaves_out_model)


def load_draft(pair: Pair, threads: int, tokenizer: ChatTokenizer, wanted: str = AUTO) -> DraftModel:
    """The draft that `chosen_draft` gives. Raises PairError when there is none, or its file is not a draft graph."""
    draft = chosen_draft(pair, wanted)
    if draft is None:
        raise PairError(
            f"the pair {pair.name!r} has no draft model; use --drafter ngram or --mode stream, or make one by sled-hub pair create"
        )
    path = pair.verify(draft.model)
    if draft.tokenizer is None:
        graph = OnnxDrafter(path, threads=threads, vocab_size=tokenizer.vocab_size, end_ids=tokenizer.end_ids)
        return DraftModel(graph, None)
    own = read_tokenizer(pair.verify(draft.tokenizer))
    sides = ByteVocabulary(tokenizer.tokenizer, str(pair.tokenizer)), ByteVocabulary(own, str(draft.tokenizer))
    translation = Translation(*sides, draft.words)
    ends = translation.ends(tokenizer.end_ids)
    return DraftModel(OnnxDrafter(path, threads=threads, vocab_size=translation.draft.size, end_ids=ends), translation)


def load_drafter(pair: Pair, threads: int, tokenizer: ChatTokenizer, wanted: str = AUTO) -> OnnxDrafter:
    """The graph of a draft that has the target's tokenizer. Raises PairError for others, and where `load_draft` does."""
    model = load_draft(pair, threads, tokenizer, wanted)
    if model.translation is not None:
        raise PairError(
            f"the draft of {pair.name!r} has a tokenizer of its own; take a pair whose draft has the target's"
        )
    return model.graph
