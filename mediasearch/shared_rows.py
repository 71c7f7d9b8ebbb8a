"""Rows with two kinds of writers: people, and workers that fill in what people left out.

A site keeps objects in memory for as long as it likes. Django writes all their columns when
they are saved, and so undoes what workers stored since they were read. Here a save leaves
the workers' columns alone, and of those that both write it stores only what its holder changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cache
from typing import Any, ClassVar, Self

from django.core.files.base import File
from django.db import models, transaction


class SharedRow(models.Model):
    """The base of a model whose rows people and workers write."""

    WORKERS: ClassVar[frozenset[str]] = frozenset()
    """Columns that no save changes in a row that exists; an INSERT may fill them, as a restored backup does."""
    ADOPTED: ClassVar[frozenset[str]] = frozenset()
    """Columns that people write, and workers where people have not."""
    STICKY: ClassVar[frozenset[str]] = frozenset()
    """Other columns in which an old value does harm, so that a save stores no more than what its holder changed."""

    #: The values of ADOPTED and STICKY columns that the holder of this object has not changed since it was made.
    _unchanged: dict[str, Any]

    class Meta:
        abstract = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        blank = _defaults(type(self))
        self._unchanged = {name: value for name, value in self._watched().items() if value == blank[name]}

    @classmethod
    def from_db(cls, db: str | None, field_names: Collection[str], values: Collection[Any], **options: Any) -> Self:
        row = super().from_db(db, field_names, values, **options)
        row._unchanged = row._watched()
        return row

    def refresh_from_db(
        self, using: str | None = None, fields: Iterable[str] | None = None, from_queryset: Any = None
    ) -> None:
        names = None if fields is None else list(fields)
        super().refresh_from_db(using, names, from_queryset)
        read = self._watched()
        self._unchanged |= {name: read[name] for name in read if names is None or name in names}

    def has_changed(self, name: str) -> bool:
        """Has the holder of this object changed an ADOPTED or STICKY column since it was read or made?"""
        loaded = self._watched()
        return name in loaded and (name not in self._unchanged or self._unchanged[name] != loaded[name])

    def _do_update(self, base_qs: Any, using: Any, pk_val: Any, values: Collection[Any], *rest: Any) -> Any:
        # Every way to write one row leads through here: save, update_or_create, forms, and
        # fixtures, which call neither save() nor pre_save(). Held by tests on each Django.
        kept = {name for name in self.ADOPTED | self.STICKY if not self.has_changed(name)} | self.WORKERS
        written = [value for value in values if value[0].name not in kept]
        for field, *_ in written:
            # From now on it is always stored: a rolled-back save must be able to come again.
            self._unchanged.pop(field.name, None)
        return super()._do_update(base_qs, using, pk_val, written, *rest)

    def note_stored(self, using: str, names: frozenset[str]) -> None:
        """Once this is committed, take what these columns hold now for what is stored."""
        stored = {name: value for name, value in self._watched().items() if name in names}
        transaction.on_commit(lambda: self._unchanged.update(stored), using=using)

    def _watched(self) -> dict[str, Any]:
        """Return the values of the ADOPTED and STICKY columns that are loaded."""
        names = self.ADOPTED | self.STICKY
        return {name: _comparable(self.__dict__[name]) for name in names if name in self.__dict__}


@cache
def _defaults(model: type[SharedRow]) -> dict[str, Any]:
    """Return what the ADOPTED and STICKY columns of a new object hold."""
    names = model.ADOPTED | model.STICKY
    return {name: _comparable(model._meta.get_field(name).get_default()) for name in names}  # type: ignore[union-attr]


def _comparable(value: Any) -> Any:
    """Return a value that a change in place does not change, too."""
    if isinstance(value, File):
        return value.name or ""
    return tuple(value) if isinstance(value, list | tuple) else value
