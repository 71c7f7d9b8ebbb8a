"""What can go wrong, one class each.

MediaSearchError
    ImproperlySet           a setting is wrong
    Refused                 this file will never be indexed
        NotAnImage, ImageTooLarge, ImageTooComplex, FormatNotAllowed, ImageUnreadable, FileMissing
        CropTooSmall        nor can a part of a picture be searched with
    Troublesome             this file could not be done; it is tried again, and not for ever
        DecoderCrashed, DecoderTimeout, ReaderFailed, ReaderTimeout
        FileUnreadable      its storage gives out other files
    Unavailable             something shared is down; trying later helps
        EncoderUnavailable, ReaderUnavailable, CaptionerUnavailable, SandboxUnavailable, DatabaseFull
            Crowded         a client's own questions stand before this one
            Foreign         a question came to another site's worker, or its answer from one
        StorageUnavailable  some files can't be read
            ThumbnailsUnavailable  thumbnails can't be written
    Withheld                a file whose metadata can't be cleared: sent only to users who may have all of it
    WrittenByWorkers        a site's code would change a column that only workers write
    NotReady                a generation that searches can't use yet
    CalibrationTaken        another process is calibrating this generation
    CalibrationLost         another process took over while this one calibrated
    QueryError              a search that can't be run as asked
        PictureRefused      the picture that it was asked with can't be used
        Busy                other searches have their pictures opened; trying again in a moment helps
"""

from __future__ import annotations

import inspect


class MediaSearchError(Exception):
    """Something in mediasearch went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.cleandoc(self.__doc__ or ""))


class ImproperlySet(MediaSearchError):
    """A key of the MEDIASEARCH setting is wrong. Run `manage.py check`."""


class Refused(MediaSearchError):
    """This file can't be indexed, however often it is tried."""


class NotAnImage(Refused):
    """This file is not an image."""


class ImageTooLarge(Refused):
    """This image is larger than MEDIASEARCH["MAX_BYTES"] or MEDIASEARCH["MAX_PIXELS"] allows."""


class ImageTooComplex(Refused):
    """This image has so many parts that opening it would take too long. Save it anew."""


class FormatNotAllowed(Refused):
    """Images of this format are not accepted."""


class ImageUnreadable(Refused):
    """This image is damaged or cut short."""


class CropTooSmall(Refused):
    """This part of the picture has too few pixels to search with. Mark a larger part."""


class FileMissing(Refused):
    """The storage has no such file."""


class Troublesome(MediaSearchError):
    """This file could not be done. It is tried again, and not for ever: a busy machine may have been the reason."""


class DecoderCrashed(Troublesome):
    """The process that opened this file died."""


class DecoderTimeout(Troublesome):
    """Opening this file took too long."""


class ReaderFailed(Troublesome):
    """The text of this picture could not be read."""


class ReaderTimeout(Troublesome):
    """Reading the text of this picture took too long."""


class FileUnreadable(Troublesome):
    """This file can't be read, though others of its storage can; it is tried again, and not for ever."""


class Unavailable(MediaSearchError):
    """Something that all pictures need is down."""


class EncoderUnavailable(Unavailable):
    """The encoder can't be loaded. Look at MEDIASEARCH["ENCODER"]."""


class Crowded(EncoderUnavailable):
    """Many questions of this client came at once; this one was not encoded. Ask it again in a moment."""


class Foreign(EncoderUnavailable):
    """A worker of another site took this question. Give each a QUEUE_PREFIX, or a broker's database, of its own."""


class ReaderUnavailable(Unavailable):
    """No text reader can run. Install tesseract, or `pip install rapidocr onnxruntime`."""


class CaptionerUnavailable(Unavailable):
    """The captioner can't be loaded. Look at MEDIASEARCH["CAPTIONER"]."""


class StorageUnavailable(Unavailable):
    """The file storage does not answer."""


class ThumbnailsUnavailable(StorageUnavailable):
    """The file storage takes no thumbnails."""


class DatabaseFull(Unavailable):
    """PostgreSQL has no room for what was computed."""


class SandboxUnavailable(Unavailable):
    """The process that opens files could not be started."""


class Withheld(MediaSearchError):
    """What this file says about places, devices and owners can't be taken out of it, so it is not sent."""


class WrittenByWorkers(MediaSearchError):
    """Only workers write this column. To have it made again, call mediasearch.reindex(assets)."""


class NotReady(MediaSearchError):
    """This generation of vectors is not whole yet."""


class CalibrationTaken(MediaSearchError):
    """Another process is calibrating this generation."""


class CalibrationLost(MediaSearchError):
    """Another process took over while this one calibrated."""


class QueryError(MediaSearchError):
    """This search can't be run as asked."""


class PictureRefused(QueryError):
    """This picture can't be searched with."""


class Busy(QueryError):
    """Other searches are having their pictures opened. Search again in a moment."""
