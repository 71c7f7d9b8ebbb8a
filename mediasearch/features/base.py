"""What a feature backend must offer, and the values it returns.

Backends are classes named by a dotted path in ``MEDIASEARCH``; this module needs neither Django nor a model library.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from mediasearch.exceptions import EncoderUnavailable, FileMissing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image


Box: TypeAlias = tuple[float, float, float, float]
"""A part of an upright picture: left, top, width and height as fractions of it, each from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that keeps a backend from working, and what mends it."""

    message: str
    hint: str
    name: str
    """Which of the documented checks this is, for example ``tesseract-missing``."""


class Backend:
    """Shared by all backends: each one checks itself, cheaply and without loading a model."""

    def check(self) -> list[Problem]:
        return []


@dataclass(frozen=True, slots=True)
class Word:
    """One word that was read in a picture."""

    text: str
    box: Box
    confidence: float
    """From 0 to 1, as the engine reports it."""
    line: int
    """Words of one line share this number; lines are numbered from 0 in reading order."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The words of one picture, in reading order."""

    words: tuple[Word, ...] = ()

    @property
    def text(self) -> str:
        """The words line by line, with a space between two words of a line unless both are Chinese or Japanese."""
        from mediasearch.features.lexemes import join_words

        lines: dict[int, list[str]] = {}
        for word in self.words:
            lines.setdefault(word.line, []).append(word.text)
        return "\n".join(join_words(words) for words in lines.values())


@dataclass(frozen=True, slots=True)
class Access:
    """What a reader needs beyond the libraries of Python and of the system; see docs/security.md."""

    folders: Sequence[str] = ()
    """Folders and files that it reads, such as those of its models."""
    programs: Sequence[str] = ()
    """Programs that it starts, as names or paths; a folder stands for all in it."""
    modules: Sequence[str] = ()
    """Modules that it imports only when it reads; they are imported before, where they lie in the site's own code."""

    def __or__(self, other: Access) -> Access:
        return Access(
            (*self.folders, *other.folders), (*self.programs, *other.programs), (*self.modules, *other.modules)
        )


class TextReader(Backend, ABC):
    """Reads the text in a picture (OCR), in a process that is confined before the first picture arrives."""

    def access(self) -> Access:
        """Return what `read` needs that a confined process has not; asked for once, before it is confined."""
        return Access()

    @abstractmethod
    def read(self, image: Image.Image) -> Reading:
        """Return the words of an RGB image; an empty Reading where there are none.

        Raises ReaderUnavailable when the engine can't run at all.
        """


class Captioner(Backend, ABC):
    """Writes one sentence about a picture."""

    @abstractmethod
    def describe(self, images: Sequence[Image.Image]) -> list[str]:
        """Return one caption per RGB image, in order."""


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What a reranker is told of a search."""

    words: str
    language: str = ""
    """ISO 639-1 code; "" where it is not known."""
    has_picture: bool = False
    """Was a picture asked with, too? Then the words are not all that the hits should be like."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One picture that may be a hit, with all that is stored about it, and where the first order put it."""

    title: str = ""
    alt_text: str = ""
    caption: str = ""
    category: str = ""
    tags: tuple[str, ...] = ()
    words: tuple[Word, ...] = ()
    """The words that were read in the picture, in reading order."""
    width: int = 0
    height: int = 0
    """In pixels, upright; 0 while nobody has looked."""
    score: float = 0.0
    """The first order's score: the weighted sum of the normalised ones."""
    signals: Mapping[str, float] = field(default_factory=dict)
    """Each signal's score from 0 to 1, over the best candidates; a signal without evidence is left out."""
    opener: Callable[[int], Image.Image] | None = field(default=None, repr=False, compare=False)

    @property
    def orientation(self) -> str:
        """`landscape`, `portrait` or `square`; "" while the size is unknown."""
        if not self.width or not self.height:
            return ""
        if self.width == self.height:
            return "square"
        return "landscape" if self.width > self.height else "portrait"

    def open(self, input_size: int = 224) -> Image.Image:
        """Return the picture in RGB, as a model sees best that looks at `input_size` pixels of its shortest side.

        It is read and decoded now, in the process that opens all files. Raises MediaSearchError.
        """
        if self.opener is None:
            raise FileMissing("This candidate came without its picture.")
        return self.opener(input_size)


class Reranker(Backend, ABC):
    """Judges the best hits of a search once more, more slowly and with a closer look than the signals can take.

    One call at a time, in a thread of its own: it may open pictures, and needs neither Django nor its models.
    """

    @abstractmethod
    def rerank(self, inquiry: Inquiry, candidates: Sequence[Candidate]) -> Sequence[float]:
        """Return one finite score for each candidate, in order; the highest comes first, equal ones stay in order.

        Whatever it raises, and whenever it takes longer than MEDIASEARCH["RERANK_SECONDS"], the first order stands.
        """


RANKS = 4


@dataclass(frozen=True, slots=True)
class Question:
    """Which encoder a search needs: that of one vector field of one generation."""

    generation: int
    field: str
    """`image` or `caption`."""
    spec: Mapping[str, Any]
    """How the encoder is made: {"BACKEND": ..., "OPTIONS": ...}."""
    fingerprint: str = ""
    """Of the encoder that the vectors must come from: those of any other are comparable with nothing."""
    site: str = ""
    """The mark of the site that asks; a worker of another one refuses the question."""
    client: str = ""
    """Whose question it is, so that everybody has a share of the encoder; "" where it is nobody's in particular."""
    rank: int = 0
    """From 0 to `RANKS` - 1: how much the client has asked lately; questions of a lower rank go first."""
    late: Callable[[NDArray[np.float32]], None] | None = None
    """Takes the vectors that come when nobody waits for them any more, in a thread of the query encoder's."""


class QueryEncoder(Backend, ABC):
    """Turns the words and pictures of a search into vectors, wherever the model may be."""

    pictures: bool = False
    """Can it encode pictures, or only words?"""

    @abstractmethod
    def encode_texts(self, question: Question, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, shape (len(texts), dimensions), float32. Raises EncoderUnavailable."""

    def encode_images(self, question: Question, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return the same for RGB images of at most `wire.most_pixels`. Raises EncoderUnavailable."""
        raise EncoderUnavailable("Searches with pictures are switched off here.")


class Encoder(Backend, ABC):
    """Turns pictures and texts into unit vectors of one space."""

    languages: frozenset[str] | None = None
    """ISO 639-1 codes of the languages its text tower reads; None means any."""

    supports_images: ClassVar[bool] = True
    """Can it encode pictures, or only texts?"""

    @property
    @abstractmethod
    def dimensions(self) -> int:
        """Length of the vectors."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Names model, weights (sha256) and preprocessing: equal fingerprints give comparable vectors."""

    def forget_images(self) -> None:
        """Free what only pictures need; called once in a process that encodes texts and nothing else."""
        return None

    @property
    def input_size(self) -> int:
        """Shortest side, in pixels, that the model looks at; larger pictures may be reduced to twice this."""
        return 224

    @abstractmethod
    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return unit vectors, shape (len(images), dimensions), float32, for RGB images of any size."""

    @abstractmethod
    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, shape (len(texts), dimensions), float32."""
