"""The little drawings on the signs, as data on a grid of 100 by 100."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageDraw

GRID = 100


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape of a pictogram; `cut` takes it away from what was drawn before it."""

    kind: Literal["polygon", "ellipse", "box", "stroke", "arc"]
    points: tuple[float, ...]
    width: float = 8
    cut: bool = False


def polygon(*points: float, cut: bool = False) -> Shape:
    """Return a filled shape through these points."""
    return Shape("polygon", points, cut=cut)


def ellipse(*corners: float, cut: bool = False) -> Shape:
    """Return a filled ellipse between two corners."""
    return Shape("ellipse", corners, cut=cut)


def box(*corners: float, radius: float = 0, cut: bool = False) -> Shape:
    """Return a filled rectangle between two corners, with round edges of a radius."""
    return Shape("box", corners, radius, cut)


def stroke(*points: float, width: float = 8, cut: bool = False) -> Shape:
    """Return a line with round ends through these points."""
    return Shape("stroke", points, width, cut)


def arc(*corners_and_angles: float, width: float = 8) -> Shape:
    """Return part of an ellipse's outline: two corners, then the first and the last angle in degrees."""
    return Shape("arc", corners_and_angles, width)


ARROW = (polygon(52, 18, 88, 50, 52, 82, 52, 62, 10, 62, 10, 38, 52, 38),)
RUNNER = (
    ellipse(56, 2, 76, 22),
    stroke(60, 30, 46, 56, width=17),
    stroke(60, 31, 76, 44, 90, 38),
    stroke(56, 29, 36, 32, 26, 46),
    stroke(47, 58, 64, 70, 60, 94, width=10),
    stroke(45, 58, 36, 78, 10, 82, width=10),
)
BARRED = (ellipse(0, 0, 100, 100), box(16, 40, 84, 60, radius=3, cut=True))
WARNING = (
    polygon(50, 4, 98, 92, 2, 92),
    stroke(50, 34, 50, 62, width=10, cut=True),
    ellipse(44, 72, 56, 84, cut=True),
)
SLIPPING = (
    ellipse(64, 4, 80, 20),
    stroke(62, 28, 44, 52, width=14),
    stroke(62, 28, 82, 36, 92, 26, width=7),
    stroke(58, 28, 36, 26, 28, 38, width=7),
    stroke(45, 54, 62, 66, 84, 62, width=9),
    stroke(44, 54, 30, 72, 12, 70, width=9),
    stroke(8, 88, 26, 92, 44, 88, 62, 92, 80, 88, 94, 91, width=5),
)
EXTINGUISHER = (
    box(32, 34, 68, 98, radius=10),
    box(42, 20, 58, 38),
    stroke(34, 12, 66, 20, width=8),
    stroke(38, 24, 64, 24, width=6),
    arc(12, 22, 60, 82, 170, 268, width=6),
    stroke(12, 56, 14, 72, width=9),
    box(38, 54, 62, 76, radius=3, cut=True),
)
FLAME = (
    polygon(52, 2, 60, 22, 76, 34, 84, 56, 78, 80, 60, 96, 40, 96, 22, 82, 16, 60, 24, 40, 34, 50, 38, 26),
    polygon(50, 54, 62, 68, 62, 84, 50, 92, 38, 84, 38, 70, cut=True),
)
BOOK = (
    polygon(4, 18, 26, 14, 47, 24, 47, 88, 26, 78, 4, 82),
    polygon(96, 18, 74, 14, 53, 24, 53, 88, 74, 78, 96, 82),
)
HUSHED = (
    stroke(20, 38, 20, 62, width=14),
    polygon(18, 34, 34, 34, 56, 14, 56, 86, 34, 66, 18, 66),
    stroke(70, 38, 92, 62, width=8),
    stroke(92, 38, 70, 62, width=8),
)
CAT = (
    polygon(10, 4, 40, 24, 14, 56),
    polygon(90, 4, 60, 24, 86, 56),
    ellipse(8, 18, 92, 96),
    ellipse(25, 44, 41, 64, cut=True),
    ellipse(59, 44, 75, 64, cut=True),
    polygon(43, 70, 57, 70, 50, 79, cut=True),
    stroke(4, 72, 34, 76, width=2.5, cut=True),
    stroke(6, 86, 34, 81, width=2.5, cut=True),
    stroke(96, 72, 66, 76, width=2.5, cut=True),
    stroke(94, 86, 66, 81, width=2.5, cut=True),
)
DOG = (
    ellipse(16, 8, 84, 84),
    ellipse(28, 44, 72, 98),
    ellipse(30, 34, 42, 48, cut=True),
    ellipse(58, 34, 70, 48, cut=True),
    ellipse(41, 56, 59, 69, cut=True),
    stroke(50, 69, 50, 78, 40, 84, width=3, cut=True),
    stroke(50, 78, 60, 84, width=3, cut=True),
    ellipse(0, 10, 27, 72, cut=True),
    ellipse(73, 10, 100, 72, cut=True),
    ellipse(2, 12, 24, 68),
    ellipse(76, 12, 98, 68),
)
NOTES = (
    ellipse(6, 68, 36, 92),
    ellipse(58, 58, 88, 82),
    box(29, 18, 36, 80),
    box(81, 8, 88, 70),
    polygon(29, 18, 88, 8, 88, 24, 29, 34),
)
MOON = (ellipse(4, 4, 96, 96), ellipse(30, -6, 112, 80, cut=True))
DISC = (ellipse(0, 0, 100, 100),)
CLAPPER = (
    box(4, 40, 96, 94, radius=6),
    polygon(2, 24, 92, 4, 96, 20, 6, 40),
    polygon(22, 19, 36, 16, 30, 34, 16, 37, cut=True),
    polygon(52, 13, 66, 10, 60, 27, 46, 30, cut=True),
    polygon(42, 54, 66, 67, 42, 80, cut=True),
)
LANTERN = (
    stroke(50, 0, 50, 14, width=3),
    box(34, 12, 66, 20, radius=2),
    ellipse(6, 18, 94, 76),
    ellipse(27, 20, 73, 74, cut=True),
    ellipse(30, 20, 70, 74),
    box(49, 20, 51, 74, cut=True),
    box(34, 74, 66, 81, radius=2),
    stroke(42, 82, 42, 96, width=3),
    stroke(50, 82, 50, 99, width=3),
    stroke(58, 82, 58, 96, width=3),
)
FLASK = (
    box(34, 2, 66, 10, radius=3),
    box(40, 4, 60, 44),
    polygon(40, 36, 60, 36, 94, 92, 88, 98, 12, 98, 6, 92),
    ellipse(32, 66, 46, 80, cut=True),
    ellipse(54, 76, 64, 86, cut=True),
    ellipse(50, 52, 58, 60, cut=True),
)
CARROT = (
    stroke(66, 34, 94, 20, width=7),
    stroke(66, 34, 80, 6, width=7),
    stroke(66, 34, 62, 10, width=7),
    polygon(48, 28, 72, 52, 10, 96, 4, 90),
    stroke(46, 48, 54, 56, width=3, cut=True),
    stroke(30, 66, 36, 72, width=3, cut=True),
)
APPLE = (
    ellipse(8, 28, 60, 94),
    ellipse(40, 28, 92, 94),
    stroke(50, 34, 54, 12, width=6),
    polygon(56, 20, 66, 6, 84, 6, 74, 20),
)
LOAF = (
    ellipse(4, 22, 96, 70),
    box(10, 46, 90, 86, radius=8),
    stroke(30, 34, 38, 54, width=5, cut=True),
    stroke(48, 32, 56, 54, width=5, cut=True),
    stroke(66, 34, 74, 54, width=5, cut=True),
)
CUP = (
    polygon(14, 42, 74, 42, 68, 80, 20, 80),
    arc(58, 46, 92, 72, 260, 110, width=7),
    box(6, 86, 84, 92, radius=3),
    stroke(30, 32, 34, 22, 28, 12, width=5),
    stroke(48, 32, 52, 22, 46, 12, width=5),
)
BOWL = (
    polygon(4, 48, 96, 48, 86, 74, 68, 88, 32, 88, 14, 74),
    box(34, 86, 66, 94, radius=2),
    stroke(40, 40, 94, 6, width=4),
    stroke(50, 42, 98, 18, width=4),
    stroke(22, 38, 26, 28, 20, 18, width=4),
)
BRUSH = (
    stroke(94, 6, 52, 50, width=9),
    polygon(58, 40, 64, 48, 42, 72, 16, 92, 6, 94, 10, 84, 34, 52),
)
CIGARETTE = (
    box(20, 54, 66, 64),
    box(69, 54, 73, 64),
    box(76, 54, 80, 64),
    stroke(70, 47, 73, 41, 68, 35, width=3.5),
    stroke(78, 47, 81, 41, 76, 35, width=3.5),
)
PROHIBITED = (
    arc(1, 1, 99, 99, 0, 360, width=11),
    stroke(22, 22, 78, 78, width=10),
)
SUITCASE = (
    box(8, 28, 92, 88, radius=8),
    stroke(34, 28, 34, 14, 66, 14, 66, 28, width=8),
    box(24, 28, 30, 88, cut=True),
    box(70, 28, 76, 88, cut=True),
)
TAXI = (
    polygon(26, 24, 74, 24, 86, 50, 14, 50),
    box(4, 46, 96, 78, radius=8),
    box(40, 12, 60, 24, radius=2),
    polygon(31, 30, 48, 30, 48, 46, 24, 46, cut=True),
    polygon(52, 30, 69, 30, 76, 46, 52, 46, cut=True),
    ellipse(14, 66, 36, 90),
    ellipse(64, 66, 86, 90),
)
TRAIN = (
    box(14, 4, 86, 80, radius=16),
    box(24, 18, 76, 46, radius=5, cut=True),
    ellipse(26, 56, 38, 68, cut=True),
    ellipse(62, 56, 74, 68, cut=True),
    stroke(32, 82, 18, 97, width=6),
    stroke(68, 82, 82, 97, width=6),
)
CHILDREN = (
    ellipse(18, 8, 36, 26),
    polygon(26, 30, 42, 62, 10, 62),
    stroke(22, 62, 18, 94, width=7),
    stroke(32, 62, 38, 92, width=7),
    stroke(30, 36, 50, 50, width=6),
    ellipse(62, 18, 78, 34),
    stroke(70, 42, 68, 62, width=15),
    stroke(66, 64, 58, 94, width=7),
    stroke(72, 64, 82, 92, width=7),
    stroke(66, 42, 50, 50, width=6),
    stroke(74, 42, 88, 56, width=6),
)
MOUNTAINS = (polygon(0, 90, 36, 24, 56, 58, 68, 42, 100, 90), polygon(36, 24, 46, 41, 37, 46, 28, 39, cut=True))
WAVES = (
    arc(2, 26, 30, 50, 180, 360, width=6),
    arc(24, 26, 52, 50, 0, 180, width=6),
    arc(46, 26, 74, 50, 180, 360, width=6),
    arc(68, 26, 96, 50, 0, 180, width=6),
    arc(2, 58, 30, 82, 180, 360, width=6),
    arc(24, 58, 52, 82, 0, 180, width=6),
    arc(46, 58, 74, 82, 180, 360, width=6),
    arc(68, 58, 96, 82, 0, 180, width=6),
)
BED = (
    stroke(6, 22, 6, 82, width=8),
    stroke(94, 50, 94, 82, width=8),
    box(6, 52, 94, 70),
    ellipse(14, 34, 32, 50),
    polygon(36, 50, 36, 36, 80, 36, 92, 44, 92, 50),
)
STAR = (polygon(50, 2, 61, 36, 98, 37, 68, 58, 79, 94, 50, 73, 21, 94, 32, 58, 2, 37, 39, 36),)


def _paint(draw: ImageDraw.ImageDraw, shape: Shape, unit: float) -> None:
    """Add one shape to a mask, or cut it out."""
    fill = 0 if shape.cut else 255
    numbers = [value * unit for value in shape.points]
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    width = max(1, round(shape.width * unit))
    match shape.kind:
        case "polygon":
            draw.polygon(pairs, fill=fill)
        case "ellipse":
            draw.ellipse(numbers, fill=fill)
        case "box":
            draw.rounded_rectangle(numbers, radius=shape.width * unit, fill=fill)
        case "arc":
            draw.arc(numbers[:4], shape.points[4], shape.points[5], fill=fill, width=width)
        case "stroke":
            draw.line(pairs, fill=fill, width=width, joint="curve")
            for x, y in pairs:
                draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=fill)


def mask(shapes: tuple[Shape, ...], size: int) -> Image.Image:
    """Return a pictogram as a square mask to paste a colour through."""
    image = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(image)
    for shape in shapes:
        _paint(draw, shape, size / GRID)
    return image
