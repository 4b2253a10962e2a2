"""Homes: the areas, floors and devices that a system message lists, and which decide what a name in a request is."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

# How the list is written; {…} are names joined by ", ". Parts that a home lacks are left out.
_STYLES = (
    ("areas: {areas}", "floors: {floors}", "devices: {devices}"),
    ("Areas: {areas}", "Floors: {floors}", "Devices: {devices}"),
    ("devices: {devices}", "areas: {areas}", "floors: {floors}"),
    ("Rooms: {areas}", "Floors: {floors}", "Devices: {devices}"),
)
_JOINTS = ("\n", "\n", ". ", "; ")


@dataclass(frozen=True)
class Home:
    """`devices` by the slot that speaks of them: "name", "lamp", "player" and so on."""

    areas: tuple[str, ...]
    floors: tuple[str, ...]
    devices: tuple[tuple[str, str], ...]

    def of(self, slot: str) -> list[str]:
        """The devices that `slot` may speak of."""
        return [name for kind, name in self.devices if kind == slot]

    @property
    def lit(self) -> list[str]:
        """Areas with a device called "AREA light"."""
        names = {name for _, name in self.devices}
        return [area for area in self.areas if f"{area} light" in names]

    def listed(self, rng: random.Random) -> str:
        """The system message."""
        devices = [name for _, name in self.devices]
        rng.shuffle(devices)
        names = {"areas": ", ".join(self.areas), "floors": ", ".join(self.floors), "devices": ", ".join(devices)}
        if rng.random() < 0.15:
            names = {key: text.title().replace("'S", "'s") for key, text in names.items()}
        parts = [part for part in rng.choice(_STYLES) if names[part[part.index("{") + 1 : -1]]]
        return rng.choice(_JOINTS).join(part.format_map(names) for part in parts)


def draw_home(
    rng: random.Random, area: Callable[[], str], floor: Callable[[], str], device: Callable[[str], str]
) -> Home:
    """A home of names that the three draw; `device` is given the slot that will speak of the device."""
    areas = tuple(dict.fromkeys(area() for _ in range(rng.randint(1, 5))))
    drawn = dict.fromkeys(floor() for _ in range(rng.choice((0, 0, 1, 2))))
    floors = tuple(name for name in drawn if name not in areas)
    kinds = rng.choices(
        ("name", "lamp", "cover_name", "fan_name", "player", "thermostat", "vacuum"),
        (6, 3, 1, 1, 1, 1, 1),
        k=rng.randint(1, 6),
    )
    devices = [(kind, device(kind)) for kind in kinds]
    devices += [("name", f"{name} light") for name in areas if rng.random() < 0.2]
    taken = {*areas, *floors}
    kept = dict.fromkeys((kind, name) for kind, name in devices if name not in taken)
    return Home(areas, floors, tuple(kept))
