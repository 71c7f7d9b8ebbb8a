"""All that may leave with a file. What is not named here is taken out.

It stays: what shows the picture right (orientation, colours, size), who made it and on
which terms it may be used, what people wrote about it, when and with which exposure,
lens and model of camera it was taken. City, region and country stay where an editor
wrote them. Coordinates, street or building, serial numbers, unique identifiers, the
camera's owner, names of faces, the editing history, maker notes and previews, which may
show what was cut off, do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL.ExifTags import Base

VERSION = 1
"""Raise it with every change of what is taken out: caches then ask for each file again."""


def _tags(names: str) -> frozenset[int]:
    return frozenset(Base[name].value for name in names.split())


def _kinds(names: str) -> frozenset[bytes]:
    return frozenset(names.encode().split())


@dataclass(frozen=True, slots=True)
class Directory:
    """What is kept of one kind of directory of a TIFF structure, by tag."""

    values: frozenset[int] = frozenset()
    packets: Mapping[int, str] = field(default_factory=dict)
    """Metadata of another format within: the name of its format."""
    children: Mapping[int, str] = field(default_factory=dict)
    """Other directories: the name of their kind in `DIRECTORIES`; those of the kind "dropped" go."""
    is_chained: bool = False
    """Are the directories that follow it kept, too?"""
    has_pixels: bool = False


_IMAGE = _tags(
    "ImageWidth ImageLength BitsPerSample Compression PhotometricInterpretation"
    " ImageDescription Make Model Orientation SamplesPerPixel XResolution YResolution"
    " PlanarConfiguration ResolutionUnit TransferFunction Software DateTime Artist WhitePoint"
    " PrimaryChromaticities YCbCrCoefficients YCbCrSubSampling YCbCrPositioning"
    " ReferenceBlackWhite Rating RatingPercent Copyright XPTitle XPComment XPAuthor XPKeywords"
    " XPSubject InterColorProfile"
)
_LAYOUT = _tags(
    "NewSubfileType SubfileType Thresholding CellWidth CellLength FillOrder StripOffsets"
    " RowsPerStrip StripByteCounts MinSampleValue MaxSampleValue GrayResponseUnit"
    " GrayResponseCurve T4Options T6Options PageNumber Predictor ColorMap HalftoneHints"
    " TileWidth TileLength TileOffsets TileByteCounts InkSet InkNames NumberOfInks DotRange"
    " ExtraSamples SampleFormat SMinSampleValue SMaxSampleValue TransferRange JPEGTables"
)
_EXPOSURE = _tags(
    "ExposureTime FNumber ExposureProgram SpectralSensitivity ISOSpeedRatings SensitivityType"
    " StandardOutputSensitivity RecommendedExposureIndex ISOSpeed ISOSpeedLatitudeyyy"
    " ISOSpeedLatitudezzz ExifVersion DateTimeOriginal DateTimeDigitized OffsetTime"
    " OffsetTimeOriginal OffsetTimeDigitized ComponentsConfiguration CompressedBitsPerPixel"
    " ShutterSpeedValue ApertureValue BrightnessValue ExposureBiasValue MaxApertureValue"
    " SubjectDistance MeteringMode LightSource Flash FocalLength SubsecTime SubsecTimeOriginal"
    " SubsecTimeDigitized FlashPixVersion ColorSpace ExifImageWidth ExifImageHeight FlashEnergy"
    " FocalPlaneXResolution FocalPlaneYResolution FocalPlaneResolutionUnit SubjectLocation"
    " ExposureIndex SensingMethod FileSource SceneType CustomRendered ExposureMode WhiteBalance"
    " DigitalZoomRatio FocalLengthIn35mmFilm SceneCaptureType GainControl Contrast Saturation"
    " Sharpness SubjectDistanceRange LensSpecification LensMake LensModel CompositeImage Gamma"
) | {0xA436, 0xA437}  # ImageTitle and Photographer, of EXIF 3.0
_INTEROPERABILITY = frozenset({1, 2})
_MULTI_PICTURE = frozenset({0xB000, 0xB001, 0xB002, 0xB004, *range(0xB101, 0xB20E)})  # 0xB003: unique ids

DIRECTORIES: Mapping[str, Directory] = {
    "dropped": Directory(),
    "orientation": Directory(frozenset({Base.Orientation})),
    "exif": Directory(_IMAGE, children={Base.ExifOffset: "details", Base.GPSInfo: "dropped"}),
    "details": Directory(_EXPOSURE, children={Base.ExifInteroperabilityOffset: "interoperability"}),
    "interoperability": Directory(_INTEROPERABILITY),
    "multi-picture": Directory(_MULTI_PICTURE, is_chained=True),
    "page": Directory(
        _IMAGE | _LAYOUT,
        packets={Base.XMLPacket: "xmp", Base.IPTCNAA: "iptc", Base.ImageResources: "photoshop"},
        children={Base.ExifOffset: "details", Base.SubIFDs: "page", Base.GPSInfo: "dropped"},
        is_chained=True,
        has_pixels=True,
    ),
}

XMP: Mapping[str, tuple[str, frozenset[str] | None]] = {
    uri: (prefix, frozenset(names.split()) if names else None)
    for prefix, uri, names in (
        (
            "dc",
            "http://purl.org/dc/elements/1.1/",
            "title description creator contributor publisher rights subject source date language type format",
        ),
        ("xmpRights", "http://ns.adobe.com/xap/1.0/rights/", ""),
        ("plus", "http://ns.useplus.org/ldf/xmp/1.0/", ""),
        ("cc", "http://creativecommons.org/ns#", ""),
        ("xmp", "http://ns.adobe.com/xap/1.0/", "CreateDate ModifyDate MetadataDate CreatorTool Rating Label"),
        (
            "photoshop",
            "http://ns.adobe.com/photoshop/1.0/",
            "AuthorsPosition CaptionWriter Category City ColorMode Country Credit DateCreated"
            " Headline ICCProfile Instructions Source State SupplementalCategories"
            " TransmissionReference Urgency",
        ),
        (
            "Iptc4xmpCore",
            "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
            "AltTextAccessibility CountryCode CreatorContactInfo ExtDescrAccessibility"
            " IntellectualGenre Scene SubjectCode",
        ),
        (
            "Iptc4xmpExt",
            "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
            "ArtworkOrObject Contributor DigitalSourceType Event MaxAvailHeight MaxAvailWidth",
        ),
        (
            "tiff",
            "http://ns.adobe.com/tiff/1.0/",
            "Artist BitsPerSample Compression Copyright DateTime ImageDescription ImageLength"
            " ImageWidth Make Model Orientation PhotometricInterpretation PlanarConfiguration"
            " PrimaryChromaticities ReferenceBlackWhite ResolutionUnit SamplesPerPixel Software"
            " TransferFunction WhitePoint XResolution YCbCrCoefficients YCbCrPositioning"
            " YCbCrSubSampling YResolution",
        ),
        (
            "exif",
            "http://ns.adobe.com/exif/1.0/",
            "ApertureValue BrightnessValue ColorSpace ComponentsConfiguration"
            " CompressedBitsPerPixel Contrast CustomRendered DateTimeDigitized DateTimeOriginal"
            " DigitalZoomRatio ExifVersion ExposureBiasValue ExposureIndex ExposureMode"
            " ExposureProgram ExposureTime FNumber FileSource Flash FlashEnergy FlashpixVersion"
            " FocalLength FocalLengthIn35mmFilm FocalPlaneResolutionUnit FocalPlaneXResolution"
            " FocalPlaneYResolution GainControl ISOSpeedRatings LightSource MaxApertureValue"
            " MeteringMode PixelXDimension PixelYDimension Saturation SceneCaptureType SceneType"
            " SensingMethod Sharpness ShutterSpeedValue SpectralSensitivity SubjectDistance"
            " SubjectDistanceRange WhiteBalance",
        ),
        (
            "exifEX",
            "http://cipa.jp/exif/1.0/",
            "CompositeImage Gamma ISOSpeed LensMake LensModel LensSpecification"
            " PhotographicSensitivity RecommendedExposureIndex SensitivityType"
            " StandardOutputSensitivity",
        ),
        ("aux", "http://ns.adobe.com/exif/1.0/aux/", "Lens LensInfo"),
        (
            "GPano",
            "http://ns.google.com/photos/1.0/panorama/",
            "CroppedAreaImageHeightPixels CroppedAreaImageWidthPixels CroppedAreaLeftPixels CroppedAreaTopPixels"
            " FullPanoHeightPixels FullPanoWidthPixels ProjectionType UsePanoramaViewer",
        ),
        ("hdrgm", "http://ns.adobe.com/hdr-gain-map/1.0/", ""),
        ("HDRGainMap", "http://ns.apple.com/HDRGainMap/1.0/", ""),
        ("apdi", "http://ns.apple.com/pixeldatainfo/1.0/", "AuxiliaryImageType NativeFormat StoredFormat"),
    )
}
"""Properties by namespace: the usual prefix, and their names; None for all of them."""

IPTC = frozenset(
    {(1, 0), (1, 90)}
    | {
        (2, dataset)
        for dataset in (
            *(0, 3, 4, 5, 10, 12, 15, 20, 25, 40, 55, 60, 62, 63, 80, 85, 90, 95),
            *(100, 101, 103, 105, 110, 115, 116, 118, 120, 122, 130, 131, 135),
        )
    }
)
"""Records and datasets of IPTC-IIM. Left out: sublocation (2:92), content location (2:26, 2:27), previews, history."""

PHOTOSHOP = frozenset({0x03ED, 0x0406, 0x040A, 0x040B, 0x040F})
"""Photoshop's resources beside IPTC: resolution, quality, copyright flag and address, ICC profile."""

PNG_CHUNKS = _kinds(
    "IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP sBIT bKGD hIST pHYs sPLT tIME cICP mDCV mDCv"
    " cLLI cLLi acTL fcTL fdAT oFFs pCAL sCAL sTER"
)
PNG_TEXTS = frozenset(
    b"Title,Author,Description,Copyright,Creation Time,Software,Disclaimer,License,Credit,Artist".split(b",")
)
"""Keywords of texts in a PNG. Left out: Source, which is the device, and Comment."""

WEBP_CHUNKS = frozenset({b"VP8 ", *_kinds("VP8L VP8X ALPH ANIM ICCP")})

GIF_APPLICATIONS = frozenset({b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012"})

ITEMS = _kinds("hvc1 hev1 lhv1 av01 avc1 jpeg grid iovl iden tmap unci")
"""Kinds of items in HEIC and AVIF that are pictures, or say how pictures make up others."""
PROPERTIES = _kinds(
    "hvcC av1C avcC lhvC jpgC ispe pixi colr pasp clap irot imir auxC lsel rloc clli mdcv cclv"
    " amve ndwt a1op a1lx reve tols oinf iscl crtt mdft altt rref uncC cmpd free"
)
"""Kinds of properties of those items."""
INDEX_BOXES = _kinds("hdlr pitm iloc iinf iref dinf grpl")
"""Boxes that say what items there are, and where."""
MOVIE_BOXES = _kinds(
    "mvhd tkhd edts tref mdhd hdlr vmhd nmhd dinf stsd stts ctts cslg stss stsz stz2 stsc stco"
    " co64 sgpd sbgp sdtp mvex prft"
)
"""Boxes that say what frames an animation has, and where."""
TRACKS = _kinds("pict vide auxv")
"""Kinds of tracks of an animation."""
