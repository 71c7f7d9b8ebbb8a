"""Draws the signs, posters, receipts and menus of the sample library: python -m project.library.render"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter, ImageFont

from project.library.layout import Band, Block, Face, Gap, Icon, Ornament, Row, Rule, Scene, Sign, Text
from project.library.pictograms import mask
from project.library.signs import SIGNS

PICTURES = Path(__file__).parent / "pictures"
FINENESS = 2  # everything is drawn this much larger and then made smaller, which smooths the pictograms' edges
SIMPLIFIED = 2  # Noto's collections hold Japanese, Korean, simplified and traditional Chinese, in this order
FONTS = {
    "sans": ("NotoSansCJK-Regular.ttc", SIMPLIFIED, "Noto Sans CJK", "fonts-noto-cjk"),
    "sans-bold": ("NotoSansCJK-Bold.ttc", SIMPLIFIED, "Noto Sans CJK", "fonts-noto-cjk"),
    "serif": ("NotoSerifCJK-Regular.ttc", SIMPLIFIED, "Noto Serif CJK", "fonts-noto-cjk"),
    "serif-bold": ("NotoSerifCJK-Bold.ttc", SIMPLIFIED, "Noto Serif CJK", "fonts-noto-cjk"),
    "mono": ("DejaVuSansMono.ttf", 0, "DejaVu Sans Mono", "fonts-dejavu-core"),
    "mono-bold": ("DejaVuSansMono-Bold.ttf", 0, "DejaVu Sans Mono", "fonts-dejavu-core"),
}
SAVE_OPTIONS: dict[str, dict[str, int]] = {
    "PNG": {"optimize": True},
    "JPEG": {"quality": 82, "optimize": True, "progressive": True},
    "WEBP": {"quality": 80, "method": 6},
}
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP"}


class FontMissing(Exception):
    """Says which Debian package holds a font that the signs need."""


class DoesNotFit(Exception):
    """Says which text is too large for its sign."""


@cache
def font(face: Face, size: int) -> ImageFont.FreeTypeFont:
    """Return a face at a size in the sign's own pixels."""
    file, index, name, package = FONTS[face]
    try:
        return ImageFont.truetype(file, size * FINENESS, index=index, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise FontMissing(f"{name} is not installed: apt-get install {package}") from error


def height(block: Block) -> int:
    """Return how much of the sign's height a block takes."""
    match block:
        case Text(size=size) | Row(size=size):
            return round(size * 1.4)
        case Band(text=text, padding=padding):
            return height(text) + 2 * padding
        case Rule(width=width):
            return width
        case Gap(height=space):
            return space
        case Icon(size=size):
            return size


class Panel:
    """The sign itself while it is being drawn, without what is around it."""

    def __init__(self, sign: Sign) -> None:
        content = sum(height(block) for block in sign.blocks)
        self.sign = sign
        self.height = sign.height or content + 2 * sign.padding
        self.top = (self.height - content) / 2
        if self.top < 0:
            raise DoesNotFit(f"{sign.file} is {content} high: give the sign that height or smaller texts.")
        self.image = _gradient(sign.width * FINENESS, self.height * FINENESS, sign.paper, sign.fade or sign.paper)
        self.draw = ImageDraw.Draw(self.image)

    def finished(self) -> Image.Image:
        """Return the sign with everything on it, transparent outside its edge."""
        for ornament in self.sign.ornaments:
            self._ornament(ornament)
        self._border()
        top = self.top
        for block in self.sign.blocks:
            self._block(block, top)
            top += height(block)
        self.image.putalpha(self._outline())
        return self.image

    def _block(self, block: Block, top: float) -> None:
        middle = top + height(block) / 2
        match block:
            case Text():
                self._text(block, middle)
            case Row():
                self._row(block, middle)
            case Band():
                corners = (_fine(0, top), _fine(self.sign.width, top + height(block)))
                self.draw.rectangle(corners, fill=block.paper)
                self._text(block.text, middle)
            case Rule():
                self._rule(block, middle)
            case Icon():
                for shapes, ink in block.layers:
                    self._ornament(Ornament(shapes, self.sign.width // 2, round(middle), block.size, ink))

    def _text(self, text: Text, middle: float) -> None:
        used = font(text.face, text.size)
        self._check_width(used.getlength(text.text), text.text)
        x = self.sign.padding if text.align == "left" else self.sign.width / 2
        anchor = "lm" if text.align == "left" else "mm"
        self.draw.text(_fine(x, middle), text.text, font=used, fill=text.ink or self.sign.ink, anchor=anchor)

    def _row(self, row: Row, middle: float) -> None:
        used, fill = font(row.face, row.size), row.ink or self.sign.ink
        left, right = self.sign.padding, self.sign.width - self.sign.padding
        if row.icon:
            side = round(row.size * 1.1)
            self._ornament(Ornament(row.icon, left + side // 2, round(middle), side, fill))
            left += round(side * 1.4)
        gap = used.getlength("  ") + (left - self.sign.padding) * FINENESS
        self._check_width(used.getlength(row.left) + gap + used.getlength(row.right), f"{row.left} {row.right}")
        self.draw.text(_fine(left, middle), row.left, font=used, fill=fill, anchor="lm")
        self.draw.text(_fine(right, middle), row.right, font=used, fill=fill, anchor="rm")

    def _rule(self, rule: Rule, middle: float) -> None:
        left, right = self.sign.padding, self.sign.width - self.sign.padding
        step = 12 if rule.dashed else right - left
        for start in range(left, right, step):
            end = start + (7 if rule.dashed else step)
            line = (_fine(start, middle), _fine(min(end, right), middle))
            self.draw.line(line, fill=rule.ink or self.sign.ink, width=rule.width * FINENESS)

    def _ornament(self, ornament: Ornament) -> None:
        half = ornament.size / 2
        x, y = _fine(ornament.x - half, ornament.y - half)
        stencil = mask(ornament.shapes, ornament.size * FINENESS)
        self.image.paste(ImageColor.getrgb(ornament.ink), (round(x), round(y)), stencil)

    def _border(self) -> None:
        border = self.sign.border
        if border is None:
            return
        inset = border.inset
        self.draw.rounded_rectangle(
            (_fine(inset, inset), _fine(self.sign.width - inset, self.height - inset)),
            radius=max(0, self.sign.radius - inset) * FINENESS,
            outline=border.ink,
            width=border.width * FINENESS,
        )

    def _outline(self) -> Image.Image:
        outline = Image.new("L", self.image.size, 0)
        draw = ImageDraw.Draw(outline)
        width, bottom = self.image.width, self.image.height
        if self.sign.torn:
            tooth = 6 * FINENESS
            teeth = [(x, bottom - tooth * (x // tooth % 2)) for x in range(width + tooth, -1, -tooth)]
            draw.polygon([(0, 0), (width, 0), *teeth], fill=255)
        else:
            draw.rounded_rectangle((0, 0, width - 1, bottom - 1), radius=self.sign.radius * FINENESS, fill=255)
        return outline

    def _check_width(self, needed: float, text: str) -> None:
        room = (self.sign.width - 2 * self.sign.padding) * FINENESS
        if needed > room:
            raise DoesNotFit(f"“{text}” on {self.sign.file} needs {needed / room:.0%} of the width: make it smaller.")


def _fine(x: float, y: float) -> tuple[float, float]:
    """Return a point of the sign as a point of the larger drawing."""
    return x * FINENESS, y * FINENESS


def _gradient(width: int, height: int, first: str, last: str) -> Image.Image:
    ends = (Image.new("RGB", (width, height), first), Image.new("RGB", (width, height), last))
    return Image.composite(ends[1], ends[0], Image.linear_gradient("L").resize((width, height)))


def _backdrop(scene: Scene, size: tuple[int, int], seed: int) -> Image.Image:
    """Return a plain, plastered, wooden or tiled surface, lit from the upper left."""
    width, height = size
    random = np.random.default_rng(seed)
    down, across = np.mgrid[0:height, 0:width]
    light: NDArray[np.float64] = 1.12 - 0.16 * across / width - 0.2 * down / height
    match scene.backdrop:
        case "wall":
            light += _grain(random, size, 14) * 0.05
        case "wood":
            light += _grain(random, size, (2, 40)) * 0.12 - 0.25 * (down % 110 < 2)
        case "tiles":
            light += _grain(random, size, 30) * 0.03 + 0.14 * ((down % 96 < 4) | (across % 96 < 4))
        case "plain":
            pass
    pixels = np.array(ImageColor.getrgb(scene.colour)) * light[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _grain(random: np.random.Generator, size: tuple[int, int], cell: int | tuple[int, int]) -> NDArray[np.float64]:
    """Return smooth noise between -1 and 1 whose spots are `cell` high and wide."""
    tall, wide = (cell, cell) if isinstance(cell, int) else cell
    small = random.integers(0, 256, (size[1] // tall + 2, size[0] // wide + 2), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)) / 127.5 - 1


def _hang(panel: Image.Image, scene: Scene, seed: int) -> Image.Image:
    """Return the sign on its backdrop, with its shadow."""
    turned = panel.rotate(scene.tilt, Image.Resampling.BICUBIC, expand=True)
    margin = scene.margin
    picture = _backdrop(scene, (turned.width + 2 * margin, turned.height + 2 * margin), seed)
    shadow = Image.new("L", picture.size, 0)
    shadow.paste(turned.getchannel("A").point(lambda value: value // 2), (margin + 5, margin + 7))
    shadow = ImageChops.invert(shadow.filter(ImageFilter.GaussianBlur(7)))
    picture = ImageChops.multiply(picture, Image.merge("RGB", (shadow, shadow, shadow)))
    picture.paste(turned, (margin, margin), turned)
    return picture


def draw(sign: Sign) -> Image.Image:
    """Return the picture of a sign."""
    large = Panel(sign).finished()
    panel = large.resize((large.width // FINENESS, large.height // FINENESS), Image.Resampling.LANCZOS)
    if sign.scene:
        return _hang(panel, sign.scene, crc32(sign.file.encode()))
    picture = Image.new("RGB", panel.size, "white")
    picture.paste(panel, mask=panel)
    return picture


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture in the format of its name, as small as it stays readable."""
    name = FORMATS[path.suffix]
    if name == "PNG":
        picture = picture.quantize(64, dither=Image.Dither.NONE)
    picture.save(path, name, **SAVE_OPTIONS[name])


def main() -> None:
    """Draw every sign again."""
    PICTURES.mkdir(exist_ok=True)
    for sign in SIGNS:
        save(draw(sign), PICTURES / sign.file)


if __name__ == "__main__":
    main()
