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
_SIZES = ((5, 6), (8, 16), (12, 40))  # areas and devices at most, of small, middling and large homes
_SHARES = (0.6, 0.28, 0.12)
_KINDS = {
    "name": 6, "lamp": 3, "cover_name": 1, "door": 1, "fan_name": 1, "player": 1, "thermostat": 1, "vacuum": 1, "mower": 0.3, "sensor": 0.7,
}  # fmt: skip


@dataclass(frozen=True)
class Home:
    """`devices` by the slot that speaks of them: "name", "lamp", "player" and so on."""

    areas: tuple[str, ...]
    floors: tuple[str, ...]
    devices: tuple[tuple[str, str], ...]

    def of(self, slot: str) -> list[str]:
        """The devices that `slot` may speak of."""
        return [name for kind, name in self.devices if kind == slot]

    def has(self, name: str) -> bool:
        """Whether the list has a device, room or storey of that name."""
        return name.lower() in {*self.areas, *self.floors, *(device for _, device in self.devices)}

    def without(self, name: str) -> Home:
        """The home before it had what bears that name."""
        gone = name.lower()
        return Home(
            tuple(area for area in self.areas if area != gone),
            tuple(floor for floor in self.floors if floor != gone),
            tuple(device for device in self.devices if device[1] != gone),
        )

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
    rng: random.Random,
    area: Callable[[], str],
    floor: Callable[[], str],
    device: Callable[[str], str],
    size: tuple[int, int] | None = None,
) -> Home:
    """A home of names that the three draw; `device` is given the slot that will speak of the device. `size` is of areas and devices."""
    most_areas, most_devices = size or rng.choices(_SIZES, _SHARES)[0]
    areas = tuple(dict.fromkeys(area() for _ in range(size[0] if size else rng.randint(1, most_areas))))
    drawn = dict.fromkeys(floor() for _ in range(rng.choice((0, 0, 1, 2))))
    floors = tuple(name for name in drawn if name not in areas)
    kinds = rng.choices(list(_KINDS), list(_KINDS.values()), k=size[1] if size else rng.randint(1, most_devices))
    devices = [(kind, device(kind)) for kind in kinds]
    devices += [("name", f"{name} light") for name in areas if rng.random() < 0.2]
    taken = {*areas, *floors}
    kept = dict.fromkeys((kind, name) for kind, name in devices if name not in taken)
    return Home(areas, floors, tuple(kept))
