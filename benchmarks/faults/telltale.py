"""Pictures of every format that say who made them, and where, with which device and whose it is."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import pillow_heif
from PIL import Image, ImageCms, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

pillow_heif.register_heif_opener()

BYLINE, COPYRIGHT, CREDIT = "Ann Byline", "(c) 2026 Ann Byline", "Harbour Agency"
LICENCE = "https://licence.example/by"
KEPT = (BYLINE, COPYRIGHT)
SERIAL, LENS_SERIAL, OWNER, UNIQUE, NOTE = (
    "SN47110815",
    "LENS-0815-4711",
    "Olga Cameraowner",
    "7e57" * 8,
    "MAKERNOTE-4711",
)
STREET, HOST, FACE, DOCUMENT = "17 Hidden Lane", "olgas-laptop", "Face Of Olga", "xmp.did:4711-uuid"
SECONDS = 123_457
"""Thousandths of a second of latitude: a number that is nowhere else in a file."""
COORDINATES = "52,31.987654N"
SECRETS: tuple[bytes, ...] = (
    *(word.encode() for word in (SERIAL, LENS_SERIAL, OWNER, UNIQUE, NOTE, STREET, HOST, FACE, DOCUMENT, COORDINATES)),
    *(struct.pack(order + "I", SECONDS) for order in "<>"),
)
ORIENTATION = 6
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_DATE = "2026:05:04 03:02:01"


def exif(order: str = "<", orientation: int = ORIENTATION) -> bytes:
    """A block of EXIF, without the prefix that it has in a JPEG."""
    block = Image.Exif()
    block.endian = order
    block[0x010F], block[0x0110], block[0x0112] = "Maker", "Model 5", orientation
    block[0x013B], block[0x8298], block[0x013C], block[0x9C9B] = BYLINE, COPYRIGHT, HOST, b"T\0i\0"
    details = block.get_ifd(0x8769)
    details |= {0x9003: _DATE, 0x829A: 0.01, 0xA430: OWNER, 0xA431: SERIAL, 0xA435: LENS_SERIAL, 0xA420: UNIQUE}
    details |= {0x927C: NOTE.encode() + bytes(20), 0x9286: b"ASCII\0\0\0" + COORDINATES.encode(), 0xA434: "Lens 50"}
    gps = block.get_ifd(0x8825)
    seconds = TiffImagePlugin.IFDRational(SECONDS, 1000)
    gps |= {1: "N", 2: (52.0, 31.0, seconds), 3: "E", 4: (13.0, 24.0, seconds), 29: "2026:05:04"}
    return block.tobytes().removeprefix(b"Exif\0\0")


XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 6.0"><!-- {OWNER} -->
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="uuid:{DOCUMENT}" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"
 xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:aux="http://ns.adobe.com/exif/1.0/aux/"
 xmlns:exifEX="http://cipa.jp/exif/1.0/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
 xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/" xmlns:cc="http://creativecommons.org/ns#"
 xmlns:Iptc4xmpCore="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
 xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/" xmlns:xmpGImg="http://ns.adobe.com/xap/1.0/g/img/"
 exif:GPSLatitude="{COORDINATES}" exif:GPSLongitude="{COORDINATES}" aux:SerialNumber="{SERIAL}"
 aux:LensSerialNumber="{LENS_SERIAL}" aux:OwnerName="{OWNER}" exifEX:BodySerialNumber="{SERIAL}"
 exif:ImageUniqueID="{UNIQUE}" xmpMM:DocumentID="{DOCUMENT}" photoshop:Credit="{CREDIT}" photoshop:City="Hamburg"
 Iptc4xmpCore:Location="{STREET}" xmp:CreateDate="2026-05-04T03:02:01" tiff:Orientation="{ORIENTATION}">
<dc:creator><rdf:Seq><rdf:li>{BYLINE}</rdf:li></rdf:Seq></dc:creator>
<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">{COPYRIGHT}</rdf:li></rdf:Alt></dc:rights>
<xmpRights:WebStatement>{LICENCE}</xmpRights:WebStatement><cc:license rdf:resource="{LICENCE}"/>
<xmpMM:History><rdf:Seq><rdf:li rdf:parseType="Resource"><xmpMM:instanceID>{DOCUMENT}</xmpMM:instanceID></rdf:li>
</rdf:Seq></xmpMM:History>
<Iptc4xmpExt:LocationCreated><rdf:Bag><rdf:li rdf:parseType="Resource">
<Iptc4xmpExt:Sublocation>{STREET}</Iptc4xmpExt:Sublocation><exif:GPSLatitude>{COORDINATES}</exif:GPSLatitude>
</rdf:li></rdf:Bag></Iptc4xmpExt:LocationCreated>
<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:RegionList><rdf:Bag><rdf:li mwg-rs:Name="{FACE}"/></rdf:Bag>
</mwg-rs:RegionList></mwg-rs:Regions>
<xmp:Thumbnails><rdf:Alt><rdf:li rdf:parseType="Resource"><xmpGImg:image>{NOTE}</xmpGImg:image></rdf:li></rdf:Alt>
</xmp:Thumbnails>
</rdf:Description></rdf:RDF></x:xmpmeta>{" " * 200}<?xpacket end="w"?>""".encode()


def records() -> bytes:
    """IPTC's records."""
    written = (
        (1, 90, b"\x1b%G"), (2, 0, b"\0\4"), (2, 80, BYLINE.encode()), (2, 90, b"Hamburg"), (2, 92, STREET.encode()),
        (2, 110, CREDIT.encode()), (2, 116, COPYRIGHT.encode()), (2, 27, STREET.encode()), (2, 188, UNIQUE.encode()),
    )  # fmt: skip
    return b"".join(b"\x1c" + bytes([r, d]) + len(v).to_bytes(2, "big") + v for r, d, v in written)


def resources() -> bytes:
    """Photoshop's resources, with IPTC's records among them."""
    parts = ((0x0404, records()), (0x0425, UNIQUE[:16].encode()), (0x0422, exif(">")), (0x040A, b"\1"))
    return b"".join(
        b"8BIM"
        + number.to_bytes(2, "big")
        + b"\0\0"
        + len(content).to_bytes(4, "big")
        + content
        + bytes(len(content) % 2)
        for number, content in parts
    )


def pixels(size: tuple[int, int] = (48, 32)) -> Image.Image:
    """A picture of which no two rows or columns are alike."""
    return Image.merge("RGB", [Image.linear_gradient("L").resize(size).rotate(turn) for turn in (0, 90, 180)])


_TWO_FRAMES = {"save_all": True, "append_images": [pixels().rotate(180)]}


def _saved(kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    pixels().save(stream, kind, **options)
    return stream.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def with_segments(data: bytes, *segments: bytes) -> bytes:
    """A JPEG with more of them at its start."""
    return data[:2] + b"".join(segments) + data[2:]


def jpeg(**options: object) -> bytes:
    data = _saved("JPEG", icc_profile=PROFILE, **options)
    film = b"\0\0\0\x18ftypmp42" + COORDINATES.encode() + b"\xa9xyz\0" + OWNER.encode()
    return (
        with_segments(
            data,
            segment(0xE1, b"Exif\0\0" + exif(">")),
            segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
            segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + UNIQUE.encode() + bytes(8) + XMP),
            segment(0xED, b"Photoshop 3.0\0" + resources()),
            segment(0xE5, OWNER.encode()),
            segment(0xFE, COORDINATES.encode()),
        )
        + film
    )


def _multi_picture() -> bytes:
    """Two pictures in a JPEG, each with metadata of its own."""
    first, second = io.BytesIO(), Image.open(io.BytesIO(jpeg())).copy()
    pixels().save(first, "MPO", save_all=True, append_images=[second], exif=exif(), xmp=XMP, icc_profile=PROFILE)
    data = first.getvalue()
    head = data.rindex(b"\xff\xd8\xff")
    return data[:head] + with_segments(data[head:], segment(0xE1, b"Exif\0\0" + exif()), segment(0xFE, NOTE.encode()))


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def with_chunks(data: bytes, *chunks: bytes) -> bytes:
    """A PNG with more of them after its head."""
    return data[:33] + b"".join(chunks) + data[33:]


def raw_profile(name: str, block: bytes) -> bytes:
    """A block of metadata as ImageMagick writes it into a PNG."""
    return f"\n{name}\n{len(block):8}\n{block.hex()}\n".encode()


def _png() -> bytes:
    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
    texts.add_text("Author", BYLINE)
    texts.add_text("Copyright", COPYRIGHT)
    texts.add_text("Comment", COORDINATES)
    texts.add_text("Source", SERIAL)
    texts.add_text("exif:GPSLatitude", COORDINATES, zip=True)
    return _saved("PNG", icc_profile=PROFILE, exif=exif(), pnginfo=texts) + OWNER.encode()


def _magick() -> bytes:
    """A PNG as ImageMagick writes it."""
    profiles = {
        b"exif": raw_profile("exif", b"Exif\0\0" + exif()),
        b"iptc": raw_profile("iptc", resources()),
        b"xmp": raw_profile("xmp", XMP),
    }
    chunks = [chunk(b"zTXt", b"Raw profile type " + n + b"\0\0" + zlib.compress(p)) for n, p in profiles.items()]
    zipped = chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP))
    return with_chunks(_saved("PNG", icc_profile=PROFILE), *chunks, zipped)


def _riff(kind: bytes, content: bytes) -> bytes:
    return kind + len(content).to_bytes(4, "little") + content + bytes(len(content) % 2)


def _webp() -> bytes:
    data = _saved("WEBP", icc_profile=PROFILE, exif=exif(), xmp=XMP)
    body = data[12:] + _riff(b"NOTE", OWNER.encode())
    return b"RIFF" + (4 + len(body)).to_bytes(4, "little") + b"WEBP" + body + SERIAL.encode()


def _animated_webp() -> bytes:
    return _saved(
        "WEBP", save_all=True, append_images=[pixels().rotate(180)], exif=exif(), xmp=XMP, icc_profile=PROFILE
    )


def tiff(**options: object) -> bytes:
    """Two pages, each with all there is; compressed ones, which libtiff writes, without directories of EXIF."""
    block = Image.Exif()
    block.load(b"Exif\0\0" + exif())
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype |= {700: 1, 33723: 7, 34377: 7, 33550: 12}
    tags[700], tags[33723], tags[34377], tags[33550] = XMP, records(), resources(), (1.5, SECONDS / 1000, 0.0)
    for tag in (0x10F, 0x112, 0x13B, 0x13C, 0x8298):
        tags[tag] = block[tag]
    for folder in () if "compression" in options else (0x8769, 0x8825):
        tags[folder] = dict(block.get_ifd(folder))
    stream = io.BytesIO()
    second = pixels().rotate(180)
    pixels().save(stream, "TIFF", tiffinfo=tags, icc_profile=PROFILE, save_all=True, append_images=[second], **options)
    return stream.getvalue() + OWNER.encode()


def _heic() -> bytes:
    data = _saved("HEIF", exif=exif(), xmp=XMP, icc_profile=PROFILE, quality=60)
    return data + (len(OWNER) + 8).to_bytes(4, "big") + b"mpvd" + OWNER.encode()


def _gif() -> bytes:
    data = _saved("GIF", **_TWO_FRAMES, comment=COORDINATES)
    extension = b"\x21\xff\x0bXMP DataXMP" + XMP + bytes([1, *range(255, -1, -1), 0])
    at = data.index(b"\x21")
    return data[:at] + extension + data[at:] + OWNER.encode()


FORMATS: dict[str, Callable[[], bytes]] = {
    "jpeg": jpeg,
    "jpeg-progressive": lambda: jpeg(progressive=True, restart_marker_blocks=2),
    "jpeg-multi-picture": _multi_picture,
    "png": _png,
    "png-magick": _magick,
    "webp": _webp,
    "webp-animated": _animated_webp,
    "tiff": tiff,
    "tiff-big": lambda: tiff(big_tiff=True),
    "tiff-jpeg": lambda: tiff(compression="jpeg"),
    "tiff-lzw": lambda: tiff(compression="tiff_lzw"),
    "avif": lambda: _saved("AVIF", exif=exif(), xmp=XMP, icc_profile=PROFILE),
    "avif-animated": lambda: _saved(  # Turned, it would kill libavif.
        "AVIF",
        exif=exif(orientation=1),
        xmp=XMP,
        icc_profile=PROFILE,
        save_all=True,
        append_images=[pixels().rotate(180)],
    ),
    "heic": _heic,
    "gif": _gif,
}
"""What makes each of them."""
SAYS_ALL = frozenset(FORMATS) - {"gif", "tiff-jpeg", "tiff-lzw"}
"""Those that have EXIF and a colour profile, too."""
