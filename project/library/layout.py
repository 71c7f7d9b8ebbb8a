"""The parts a sign is put together from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from project.library.pictograms import Shape

Face = Literal["sans", "sans-bold", "serif", "serif-bold", "mono", "mono-bold"]
Backdrop = Literal["plain", "wall", "wood", "tiles"]


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text."""

    text: str
    size: int
    face: Face = "sans"
    ink: str = ""
    align: Literal["left", "centre"] = "centre"


@dataclass(frozen=True, slots=True)
class Row:
    """A line with something at its left edge and something at its right edge, as on a menu or a receipt."""

    left: str
    right: str
    size: int
    face: Face = "sans"
    ink: str = ""
    icon: tuple[Shape, ...] = ()


@dataclass(frozen=True, slots=True)
class Band:
    """Text on a strip of another colour that goes from edge to edge."""

    text: Text
    paper: str
    padding: int = 12


@dataclass(frozen=True, slots=True)
class Rule:
    """A thin line across the sign."""

    width: int = 2
    ink: str = ""
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """Empty space."""

    height: int


@dataclass(frozen=True, slots=True)
class Icon:
    """Pictograms over one another in the middle of the sign, each with its colour."""

    size: int
    layers: tuple[tuple[tuple[Shape, ...], str], ...]


Block = Text | Row | Band | Rule | Gap | Icon


@dataclass(frozen=True, slots=True)
class Ornament:
    """A pictogram anywhere on the sign, under the text; the place is that of its middle."""

    shapes: tuple[Shape, ...]
    x: int
    y: int
    size: int
    ink: str


@dataclass(frozen=True, slots=True)
class Border:
    """A line around the sign, some way in from its edge."""

    ink: str
    width: int = 6
    inset: int = 10


@dataclass(frozen=True, slots=True)
class Scene:
    """What a sign hangs on or lies on, and how crooked."""

    backdrop: Backdrop
    colour: str
    margin: int = 50
    tilt: float = 0


@dataclass(frozen=True, slots=True)
class Sign:
    """One picture: its file name, its paper and the blocks on it from top to bottom.

    A height of 0 is as high as the blocks need; a second paper colour makes a gradient downwards.
    """

    file: str
    width: int
    height: int
    paper: str
    ink: str
    blocks: tuple[Block, ...]
    fade: str = ""
    padding: int = 36
    radius: int = 0
    torn: bool = False
    border: Border | None = None
    ornaments: tuple[Ornament, ...] = ()
    scene: Scene | None = None

    @property
    def lines(self) -> tuple[str, ...]:
        """The text on the sign, line by line from top to bottom."""
        found: list[str] = []
        for block in self.blocks:
            match block:
                case Text(text=text) | Band(text=Text(text=text)):
                    found.append(text)
                case Row(left=left, right=right):
                    found.append(f"{left} {right}".strip())
        return tuple(found)
