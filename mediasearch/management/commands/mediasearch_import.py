"""`manage.py mediasearch_import FOLDER`: take a folder's pictures into the library."""

from __future__ import annotations

import errno
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.core.management.base import BaseCommand, CommandError

from mediasearch.exceptions import Refused, StorageUnavailable, Troublesome
from mediasearch.features import hashing, opener
from mediasearch.management.progress import Progress
from mediasearch.models import LIBRARY, Asset

ALREADY_THERE = "This image is in the library already."
_LISTED = 5


class Command(BaseCommand):
    help = "Take the pictures of a folder, and of the folders in it, into the library."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path)
        parser.add_argument("--category", default="", help="give all of them this category")
        parser.add_argument("--tag", action="append", default=[], dest="tags", help="give all of them this tag")
        parser.add_argument("--language", default="", help="ISO 639-1 code of the texts in them")
        parser.add_argument("--titles", action="store_true", help="take titles from file names")
        parser.add_argument("--private", action="store_true", help="hide them from visitors")
        parser.add_argument("--owner", help="user name of their owner")

    def handle(self, *args: Any, **options: Any) -> None:
        folder: Path = options["folder"].expanduser()
        if not folder.is_dir():
            raise CommandError(f"There is no folder {folder}.")
        fields = {
            "category": options["category"],
            "tags": options["tags"],
            "language": options["language"],
            "is_public": not options["private"],
            "owner": self._owner(options["owner"]),
        }
        files = sorted(_files(folder))
        progress = Progress(self.stdout, "Importing", len(files), quiet=options["verbosity"] < 1)  # type: ignore[arg-type]
        skipped: dict[str, list[str]] = defaultdict(list)
        for number, path in enumerate(files, 1):
            try:
                title = path.stem.replace("_", " ").strip()[:255] if options["titles"] else ""
                self._take(path, fields | {"title": title})
            except (Refused, Troublesome) as refusal:
                skipped[str(refusal)].append(str(path.relative_to(folder)))
            progress.show(number)
        progress.end()
        self._summarise(len(files), skipped, everything=options["verbosity"] > 1)

    @staticmethod
    def _owner(name: str | None) -> Any:
        if name is None:
            return None
        users = get_user_model()
        try:
            return users._default_manager.get_by_natural_key(name)
        except users.DoesNotExist:
            raise CommandError(f'There is no user "{name}".') from None

    @staticmethod
    def _take(path: Path, fields: dict[str, Any]) -> None:
        """Store one picture. Raises what is wrong with the file, or CommandError where nothing can be stored."""
        try:
            with path.open("rb") as stream:
                data = opener.load(stream)
        except (OSError, StorageUnavailable) as error:
            raise Refused(f"This file can't be read ({getattr(error, 'strerror', None) or error}).") from error
        digest = hashing.content_hash(data)
        if Asset.objects.primary().filter(source=LIBRARY, content_hash=digest).exists():
            raise Refused(ALREADY_THERE)
        opener.verify(data)
        try:
            Asset.objects.create(file=ContentFile(data, name=path.name), content_hash=digest, **fields)
        except OSError as error:
            full = " The disk is full." if error.errno == errno.ENOSPC else ""
            raise CommandError(f"The storage does not take {path.name} ({error}).{full}") from error

    def _summarise(self, found: int, skipped: dict[str, list[str]], *, everything: bool) -> None:
        lost = sum(map(len, skipped.values()))
        self.stdout.write(self.style.SUCCESS(f"{found - lost} imported, {lost} skipped."))
        for reason, names in sorted(skipped.items(), key=lambda item: -len(item[1])):
            self.stdout.write(f"{len(names)} x {reason}")
            if reason != ALREADY_THERE or everything:
                shown = names if everything else names[:_LISTED]
                more = f"\n    and {len(names) - len(shown)} more: --verbosity 2 lists all" if shown != names else ""
                self.stdout.write("    " + "\n    ".join(shown) + more)
        if found == 0:
            self.stdout.write("The folder holds no files.")
        elif lost == found and ALREADY_THERE not in skipped:
            raise CommandError("Nothing was imported.")


def _files(folder: Path) -> Iterator[Path]:
    """Files at any depth; what is hidden, or lies in a hidden folder, is nobody's picture."""
    for path in folder.rglob("*"):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path
