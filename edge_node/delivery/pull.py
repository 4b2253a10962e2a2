"""Fetching a draft and what belongs to it from a hub, and the switch to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from edge_node.delivery.choice import best, this_device
from edge_node.delivery.hub_files import HubFiles, SeenOffers
from edge_node.delivery.offer import Offer, OfferedDraft
from edge_node.delivery.part import Part
from edge_node.delivery.store import PairStore
from shared.errors import DeliveryError

AUTO = "auto"  # instead of a draft's name: the one that suits this device best


@dataclass(frozen=True)
class Found:
    """A draft of a pair, and the hub that offers it."""

    hub: str
    pair: str
    draft: OfferedDraft


class Progress(Protocol):
    """Who is told how far it has come."""

    def begin(self, total: int, there: int) -> None:
        """Bytes of all files, and those of them that need not come any more."""

    def advance(self, size: int) -> None:
        """So many bytes more are on disk."""


def find(seen: SeenOffers, pair: str, draft: str, hub: str = "") -> Found:
    """The draft of that name, or the best for this device, at that hub or any. Raises DeliveryError."""
    serving = {name: offer for name, offer in seen.offers.items() if offer.pair == pair and hub in ("", name)}
    online = {name: offer for name, offer in serving.items() if name in seen.online}
    delivering = {name: offer for name, offer in online.items() if offer.delivers}
    if not online:
        raise DeliveryError(_why_none(seen, pair, hub, serving))
    if not delivering:
        raise DeliveryError(
            f"hub {min(online)!r} serves {pair!r} and delivers no files: its delivery is off; start it with --delivery-rate 2M"
        )
    found = [
        Found(name, pair, each)
        for name, offer in sorted(delivering.items())
        for each in offer.drafts.values()
        if draft in (AUTO, each.name)
    ]
    if not found:
        others = sorted({name for offer in delivering.values() for name in offer.drafts})
        raise DeliveryError(f"no hub offers a draft {draft!r} of {pair!r}; there are: {', '.join(others) or 'none'}")
    by_draft = {one.draft: one for one in reversed(found)}
    chosen = best(by_draft, this_device())
    if chosen is None:
        raise DeliveryError(
            f"no draft of {pair!r} fits this device's memory; have the hub offer a smaller one, or free memory"
        )
    return by_draft[chosen]


def pull(files: HubFiles, found: Found, store: PairStore, progress: Progress) -> bool:
    """Fetch what is missing, and use it from now on; whether anything had to be changed. Raises DeliveryError or LinkError."""
    draft = found.draft
    with store.locked():
        if store.has(draft):
            return False
        wanted = {file.sha256: file for file in draft.files}  # what has two names comes once
        whole = {sha256: path for sha256, file in wanted.items() if (path := store.find(file)) is not None}
        parts = [Part(store.parts, file) for sha256, file in wanted.items() if sha256 not in whole]
        try:
            missing = sum(part.file.size - part.size for part in parts)
            store.require_room(missing)
            total = sum(file.size for file in wanted.values())
            progress.begin(total, total - missing)
            for part in parts:
                _fetch(files, found.hub, part, progress.advance)
                whole[part.file.sha256] = part.path
        finally:
            for part in parts:
                part.close()
        store.install(draft, {file.path: whole[file.sha256] for file in draft.files})
    return True


def _fetch(files: HubFiles, hub: str, part: Part, tell: Callable[[int], None]) -> None:
    """Fetch the rest of a file; one that turns out wrong as a whole is fetched once more."""
    file = part.file
    for is_last in (False, True):
        if part.size < file.size:
            files.ask(hub, file, part.size)
        while part.size < file.size:
            data = files.piece()
            part.append(data)
            if part.size < file.size:
                files.ask(hub, file, part.size)  # it comes while the disk writes
            part.sync()
            tell(len(data))
        part.sync(least=0)
        if part.is_right:
            return
        tell(-part.size)
        part.discard()
        if is_last:
            raise DeliveryError(
                f"{file.path} came wrong twice from hub {hub!r}: its hash is another; start the hub again, which reads its files anew"
            )


def _why_none(seen: SeenOffers, pair: str, hub: str, serving: Mapping[str, Offer]) -> str:
    if serving:
        return f"hub {min(serving)!r} serves {pair!r} and is offline; start it with: sled-hub serve"
    others = {name: offer for name, offer in seen.offers.items() if name in seen.online and hub in ("", name)}
    if others:
        told = ", ".join(f"{name!r} has {offer.pair!r}" for name, offer in sorted(others.items()))
        return f"no hub serves the pair {pair!r} ({told}); name one of these with --pair"
    what = f"hub {hub!r} does not say" if hub else "no hub on this broker says"
    return f"{what} what it delivers: it is offline or of an older version, or the broker's rules are (sudo sled-hub init-broker)"
