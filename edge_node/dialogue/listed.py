"""The calls of an answer beside the list of the home: what is named there in another place, almost so, or not at all."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edge_node.dialogue.calls import Call
from shared.home_list import ListedNames, key

_ALIKE = 0.75  # of the letters of a name that was copied wrongly
_ALIKE_WORD = 0.7  # of those of the one word that was typed wrongly
_LEAST = 4  # letters of such a word
_OF_A_KIND = ("area", "floor", "domain", "device_class")
_NUMBERS = re.compile(r"\d+")


@dataclass(frozen=True)
class Compared:
    """The calls as the list has it. `guessed` are names that were taken for others; `missing` is what the home has not, and then nothing is to be done."""

    calls: tuple[Call, ...]
    guessed: tuple[tuple[str, str], ...] = ()
    missing: str = ""


def compared(calls: Sequence[Call], listed: ListedNames, request: str) -> Compared:
    """Compare the calls that answer `request` with what the home has."""
    fitted: list[Call] = []
    guessed: list[tuple[str, str]] = []
    for call in calls:
        as_listed = call
        for argument in [each for each in listed.names if listed.must_list(call.name, call.arguments, each)]:
            name = call.arguments[argument]
            if key(name) in listed.names[argument]:
                continue
            if argument != listed.form.device and (device := _device_said(name, listed, request)):
                as_listed = _of_device(as_listed, listed.form.device, device)
                break
            place, meant = _place(name, listed, call) or _guess(name, argument, listed, request, calls)
            if not place or (place != argument and place in as_listed.arguments):
                return Compared(tuple(calls), missing=name)
            if meant != name:
                guessed.append((name, meant))
            as_listed = _moved(as_listed, argument, place, meant)
        fitted.append(as_listed)
    return Compared(tuple(fitted), tuple(guessed))


def _device_said(place: str, listed: ListedNames, request: str) -> str:
    """The device of the list that the request names with that place in its name: the "kitchen lights" may be one; "" for none, or several."""
    said = f" {_words(request)} "
    names = [each for each in listed.names[listed.form.device].values() if f" {_words(each)} " in said]
    found = [each for each in names if f" {_words(place)} " in f" {_words(each)} "]
    return _as_said(found[0], request) if len(found) == 1 else ""


def _of_device(call: Call, argument: str, device: str) -> Call:
    """The call about that device, in place of a kind of devices at a place."""
    kept = {each: value for each, value in call.arguments.items() if each not in _OF_A_KIND}
    return replace(call, arguments={argument: device, **kept})


def _place(name: str, listed: ListedNames, call: Call) -> tuple[str, str] | None:
    """The argument under which the list has that very name, if the call has none there."""
    return next(((argument, name) for argument in listed.where(name) if argument not in call.arguments), None)


def _guess(name: str, argument: str, listed: ListedNames, request: str, calls: Sequence[Call]) -> tuple[str, str]:
    """The argument and the listed name that `name` may have been meant to be; "" and "" for none."""
    found = _almost(name, listed, request) or _mentioned(name, argument, listed, request, calls)
    return ("", "") if found is None else (found[0], _as_said(found[1], request))


def _moved(call: Call, argument: str, to: str, name: str) -> Call:
    """The call with `name` in the argument `to`, where `argument` was."""
    moved = {to if each == argument else each: value for each, value in call.arguments.items()}
    return replace(call, arguments={**moved, to: name})


def _almost(name: str, listed: ListedNames, request: str) -> tuple[str, str] | None:
    """The argument and the listed name that `name` may have been meant to be: none where that could be several."""
    bare = listed.without_words_beside(name)
    if bare != name and (places := listed.where(bare)):
        return places[0], bare
    is_said = f" {_words(name)} " in f" {_words(request)} "
    alike = _misspelt if is_said else _miscopied
    near = sorted(((alike(name, each), argument, each) for argument, each in _everything(listed)), reverse=True)
    if near and near[0][0] > 0 and (len(near) == 1 or near[0][0] > near[1][0]):
        return near[0][1:]
    return None


def _mentioned(
    name: str, argument: str, listed: ListedNames, request: str, calls: Sequence[Call]
) -> tuple[str, str] | None:
    """The one device, or the one place, of the list that was said beside `name` and that no call is about; none where there are several."""
    rest = f" {_words(request)} ".replace(f" {_words(name)} ", " ; ")
    taken = {key(value) for call in calls for value in call.arguments.values() if isinstance(value, str)}
    said: list[tuple[str, str]] = []
    for found in sorted(_everything(listed), key=lambda found: -len(found[1])):
        if f" {_words(found[1])} " in rest:
            rest = rest.replace(f" {_words(found[1])} ", " ; ")
            said.append(found)
    device = listed.form.device
    left = [found for found in said if key(found[1]) not in taken and (found[0] == device) == (argument == device)]
    return left[0] if len(left) == 1 else None


def _everything(listed: ListedNames) -> list[tuple[str, str]]:
    return [(argument, name) for argument, names in listed.names.items() for name in names.values()]


def _as_said(name: str, request: str) -> str:
    """A listed name with the capitals that it has in the request, if it is there."""
    found = re.search(re.escape(name), request, re.IGNORECASE)
    return name if found is None else found[0]


def _words(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text.casefold()))


def _misspelt(said: str, name: str) -> float:
    """How much alike two names are of which one word differs, by a slip of the fingers; 0 where it is more than that."""
    ours, theirs = said.casefold().split(), name.casefold().split()
    differing = [(a, b) for a, b in zip(ours, theirs, strict=False) if a != b]
    if len(ours) != len(theirs) or len(differing) != 1:
        return 0.0
    a, b = differing[0]
    ratio = difflib.SequenceMatcher(None, a, b).ratio()
    fits = min(len(a), len(b)) >= _LEAST and ratio >= _ALIKE_WORD and not _NUMBERS.search(a + b)
    return ratio if fits else 0.0


def _miscopied(written: str, name: str) -> float:
    """How much alike a name is that nobody said, and was meant to be a copy; 0 where it is another one."""
    if _NUMBERS.findall(written) != _NUMBERS.findall(name):
        return 0.0
    ratio = difflib.SequenceMatcher(None, key(written), key(name)).ratio()
    return ratio if ratio >= _ALIKE else 0.0
