"""How files come into the storage, each under a new name, and how they leave it: with the last row that has them.

A name is promised before its file is stored: written down as a Discard that is due in a day. The row that takes the
file crosses it out. So a file whose row never came, as its process was killed, is deleted like any that a row let go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, cast

from django.core.files.base import File
from django.core.files.storage import Storage
from django.db import models, router
from django.db.models.fields.files import FieldFile

from mediasearch import derivation, naming
from mediasearch.features import signatures

if TYPE_CHECKING:
    from mediasearch.models import Asset


def store(storage: Storage, name: str, content: File[Any], using: str) -> str:
    """Store a file that a row will name within a day; return its name. Raises whatever the storage does."""
    from mediasearch.models import Discard

    Discard.objects.using(using).promise(name)
    try:
        return storage.save(name, content, max_length=255)
    except BaseException:
        with suppress(Exception):  # What is there of it is of no use.
            storage.delete(name)
        raise


class StoredFile(FieldFile):
    """The file of a row. Whatever an upload is called, it is stored under a name that is made for its content."""

    def save(self, name: str, content: File[Any], save: bool = True) -> None:
        """As in Django, but that `name` gives no more than its words; the instance's `file_version` follows."""
        using = router.db_for_write(type(self.instance), instance=self.instance)
        with _seekable(content) as source:
            digest, head = _looked_through(source)
            full_name = self.field.generate_filename(self.instance, naming.file_name(name, head))
            self.name = store(self.storage, full_name, source, using)
        setattr(self.instance, self.field.attname, self.name)
        self._committed = True
        asset = cast("Asset", self.instance)
        if asset.source == derivation.LIBRARY:
            asset.file_version = derivation.file_version(digest, self.name)
        if save:
            self.instance.save()

    save.alters_data = True  # type: ignore[attr-defined]

    def delete(self, save: bool = True) -> None:
        """Let go of the file. It is deleted once that is committed, unless another row has it."""
        if not self:
            return
        if hasattr(self, "_file"):
            self.close()
            del self.file
        self.name = None
        setattr(self.instance, self.field.attname, None)
        if save:
            self.instance.save()

    delete.alters_data = True  # type: ignore[attr-defined]


class StoredFileField(models.FileField):
    """Django's FileField whose files are called by their content. Migrations know no difference."""

    attr_class = StoredFile

    def deconstruct(self) -> Any:
        name, _, arguments, options = super().deconstruct()
        return name, "django.db.models.FileField", arguments, options


@contextmanager
def _seekable(content: File[Any]) -> Iterator[File[Any]]:
    """Give a file that can be read twice: first for its name, then to be stored."""
    if content.seekable():
        yield content
        return
    with TemporaryFile() as copy:
        for chunk in content.chunks():
            copy.write(chunk)
        yield File(copy, content.name)


def _looked_through(content: File[Any]) -> tuple[str, bytes]:
    """Return the sha256 of a file and its first bytes, and leave it at its start."""
    digest, head = hashlib.sha256(), b""
    for chunk in content.chunks():
        data = chunk.encode() if isinstance(chunk, str) else chunk
        digest.update(data)
        head = head or data[: signatures.HEAD]
    content.seek(0)
    return digest.hexdigest(), head
