"""A draft model that finds the K/V of a text's beginning on disk, and keeps that of a system message there."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import chain

from edge_node.drafting.drafter import Guess
from edge_node.drafting.onnx_drafter import Draw, OnnxDrafter
from edge_node.drafting.prefix_files import PrefixFiles, PrefixReader
from shared.sampling import draw
from shared.sampling_parameters import Sampling
from shared.transcript import common_length

log = logging.getLogger(__name__)

_LEAST_S = 0.1  # seconds that reading has to save: nobody notices less
_DISK = 40e6  # bytes per second of a slow SD card


class PrefixDrafter:
    """Drafts as `model` does. What fails on the way to a file or back is logged, and computed as if there were no files."""

    def __init__(self, model: OnnxDrafter, files: PrefixFiles) -> None:
        self.context = model.context
        self._model, self._files = model, files
        self._keeps = True
        self._sought: tuple[int, ...] | None = None  # the text for which a file was looked for last
        self._reading: PrefixReader | None = None  # what was found, until it is read

    def draft(self, ids: Sequence[int], sampling: Sampling, by: Draw = draw) -> Iterator[Guess | None]:
        """See `OnnxDrafter.draft`. Reading a file is work without a token, a piece at a time."""
        return chain(self._read(tuple(ids)), self._model.draft(ids, sampling, by))

    def keep(self, beginning: Sequence[int]) -> None:
        """Keep what the model holds of `beginning`, if reading it will save time that it has now taken to compute."""
        count = common_length(self._model.held, beginning)
        ids = beginning[:count]
        if not (self._keeps and self._pays(count) and self._files.takes(count)):
            return
        try:
            found = self._files.find(ids)
            if self._pays(count - (len(found.ids) if found else 0)):
                self._files.keep(ids, self._model.kv(count))
                log.info("K/V of %d ids are kept on disk", count)
        except OSError as error:
            self._keeps = False
            log.warning("no K/V are kept on disk: %s", error)

    def _pays(self, count: int) -> bool:
        """Whether reading so many ids saves time. The disk is taken for a slow one; a device that is faster has little to gain."""
        return count * (self._model.prefill_s - self._model.bytes_per_id / _DISK) > _LEAST_S

    def _read(self, text: tuple[int, ...]) -> Iterator[None]:
        """Take in what a file has of `text`, unless the model holds as much of it.

        An answer that is streamed meanwhile asks for a new draft with every token: each goes on with what the last has read.
        """
        try:
            if self._sought is None or text[: len(self._sought)] != self._sought:
                self._sought, self._reading = text, None
                self._reading = self._files.find(text)
            while self._reading is not None and common_length(self._model.held, text) < len(self._reading.ids):
                if not self._reading.advance():
                    self._model.adopt(self._reading.ids, self._reading.kv())
                    log.info("K/V of %d ids were on disk", len(self._reading.ids))
                    break
                yield None
        except (OSError, ValueError) as error:
            log.warning("K/V on disk are not read: %s", error)
            if self._reading is not None:
                self._reading.discard()
        self._reading = None
