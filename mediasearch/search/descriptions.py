"""What comes back of a picture that is described: ranked texts, each with its score and where it is from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, overload

from django.utils.functional import cached_property

from mediasearch.models import Asset
from mediasearch.search.pictures import Picture
from mediasearch.search.results import Notice


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a text is from."""

    kind: str
    """`title`, `alt_text`, `caption`, `tag` or `ocr_line`; `description` for all that is said of an asset at once."""
    asset: Asset


@dataclass(frozen=True, slots=True)
class Description:
    """One text, and how well it fits the picture."""

    text: str
    score: float
    """The cosine between the picture's vector and the text's."""
    origins: tuple[Origin, ...]
    """Those of the assets that were looked at, the nearest first."""

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(origin.kind for origin in self.origins))

    @property
    def assets(self) -> tuple[Asset, ...]:
        return tuple(dict.fromkeys(origin.asset for origin in self.origins))


@dataclass(frozen=True, slots=True)
class Told:
    """A description that has run."""

    descriptions: tuple[Description, ...] = ()
    notices: tuple[Notice, ...] = ()
    picture: Picture | None = None


class Descriptions:
    """Ranked texts; nothing runs until they are looked at."""

    def __init__(self, run: Callable[[], Told]) -> None:
        self._run = run

    @cached_property
    def told(self) -> Told:
        """How it went."""
        return self._run()

    def __iter__(self) -> Iterator[Description]:
        return iter(self.told.descriptions)

    def __len__(self) -> int:
        return len(self.told.descriptions)

    @overload
    def __getitem__(self, index: int) -> Description: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Description, ...]: ...
    def __getitem__(self, index: Any) -> Any:
        return self.told.descriptions[index]

    @property
    def degraded(self) -> tuple[Notice, ...]:
        """What could not be compared, and why; empty when all could."""
        return self.told.notices

    @property
    def picture(self) -> Picture | None:
        """The picture that was described; pass it as `image` to ask again without its file."""
        return self.told.picture

    def __repr__(self) -> str:
        return f"<Descriptions: {len(self)}>"
