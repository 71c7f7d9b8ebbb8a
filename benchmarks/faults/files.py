"""`python -m benchmarks.faults.files [--seed N] [--short]`: how uploads are called, and which files stay behind.

Editors upload pictures under names that a web server would run or show as a page, on the admin's own pages of a real
site, and a script by every other way. Then pictures are deleted and replaced by each way there is, half of them beside
a copy that has the same file, some at the same moment as that copy, while a worker is killed. After a minute the
storage is compared with the rows.
"""

from __future__ import annotations

import io
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import editors, uploads
from benchmarks.faults.changing import LONGEST, Changer
from benchmarks.faults.site import Site, await_model, await_processes, running, until

EACH, SHORT = 40, 2
"""Pictures for each way to delete or replace them; the short form also takes every sixth name alone."""
SETTLED, INDEXED, WITHIN = 60.0, 600.0, 60.0
PASSIVE = {".jpg", ".png", ".gif", ".webp", ".avif", ".tif", ".bmp", ".heic", ".bin"}
NAMES = (
    "evil.html", "evil.htm", "evil.svg", "evil.xhtml", "evil.shtml", "evil.js", "evil.php", "evil.xml", ".htaccess",
    "web.config", "a.jpg.html", "a.html.", "a.html ", "a.HTML", "a.jpg;.html", "CON.html", "aux.svg",
    "evil\u202egpj.html", "夜里的红色汽车.html", "x" * 200 + ".html",
)  # fmt: skip
CONTENTS = (b"<html><script>alert(1)</script></html>", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<?php", b"")
"""What no form takes, and a script may store all the same."""


def run(given: Given, bars: Bars) -> None:
    each = SHORT if given.short else EACH
    with running("worker", "web", settings={"STORAGE": "private", "DOORBELL": "postgresql"}) as site:
        await_model()
        await_processes(site, "web", 2)
        editors.create_account()
        keeper = Keeper(f"http://127.0.0.1:{site.port}")
        _upload(bars, site, keeper, NAMES[::6] if given.short else NAMES)
        _look(bars, keeper)
        _let_go(given, bars, site, keeper, each)


def _upload(bars: Bars, site: Site, keeper: Keeper, names: Sequence[str]) -> None:
    """Store a JPEG with a page in its comment under each name by each way, and what is no picture by some."""
    refused = [name for name in names for add in (keeper.add, keeper.add_several) if not add(name, _page_in_a_jpeg())]
    bars.equal("uploads that the admin refused", refused, [])
    for store in (_by_save, _by_bulk_create, _by_file_api):
        for content in (_page_in_a_jpeg(), *CONTENTS):
            for name in names:
                store(name, content)
    stored = [name for name in _files(site) if "thumbnails" not in name]
    bars.note("files stored", len(stored))
    active = [name for name in stored if Path(name).suffix not in PASSIVE or Path(name).name.count(".") != 1]
    bars.equal("names of an active type kept", len(active), 0)


def _look(bars: Bars, keeper: Keeper) -> None:
    """Ask for a private picture by every address that it might have."""
    from mediasearch.models import Asset, Job

    until(lambda: not Job.objects.unfinished().exists(), INDEXED)
    picture = Asset.objects.exclude(thumbnail="").latest("pk")
    Asset.objects.filter(pk=picture.pk).update(is_public=False)
    pages = [f"/image/{picture.pk}/", f"/image/{picture.pk}/original/", f"/thumbnail/{picture.pk}/"]
    version = f"?v={picture.content_hash[:12]}"
    media = [
        f"{root}{name}" for root in ("/", "/media/", "/static/") for name in (picture.file.name, picture.thumbnail)
    ]
    addresses = [*pages, *(page + version for page in pages), *media]
    answers = {path: requests.get(keeper.site + path, timeout=LONGEST).status_code for path in addresses}
    bars.equal(f"a private picture's {len(answers)} addresses", {*answers.values()}, {404})


def _let_go(given: Given, bars: Bars, site: Site, keeper: Keeper, each: int) -> None:
    from mediasearch.models import Asset, Discard, Job

    chance = random.Random(given.seed)
    made = [Asset.objects.get(pk=uploads.upload(number)) for number in range(each * len(WAYS) + each)]
    until(lambda: not Job.objects.unfinished().exists(), INDEXED)
    twins = {asset.pk: _copy(asset.pk) for asset in made[::2]}
    until(lambda: not Job.objects.unfinished().exists(), INDEXED)
    together, others = made[:each], made[each:]
    chance.shuffle(others)
    before, unlike = _rows(), []
    for number, (name, let_go) in enumerate(WAYS.items()):
        if number == len(WAYS) // 2:
            site.kill("worker")
        ids = [asset.pk for asset in others[number :: len(WAYS)]]
        let_go(keeper, ids)
        if _went_wrong(name, Asset.objects.filter(pk__in=ids), len(ids), before):
            unlike.append(name)
    bars.equal("ways that did not do what they say", unlike, [])
    for asset in together:
        _at_once([asset.pk, *([twins[asset.pk]] if asset.pk in twins else [])], keeper)
    until(lambda: not Job.objects.unfinished().exists(), INDEXED)
    took = until(lambda: not _left(site) and not Discard.objects.due().exists(), WITHIN)
    bars.at_most("until only the rows' files are left", float("inf") if took is None else took, SETTLED, " s")
    bars.equal("files left that no row has", len(_left(site)), 0)
    bars.equal("files lost that a row has", len(_rows() - _files(site)), 0)
    bars.note("files in the storage", len(_files(site)))
    bars.equal("jobs failed of pictures", Job.objects.filter(state="failed", asset__title__startswith="p").count(), 0)


def _went_wrong(way: str, assets: Any, count: int, before: set[str]) -> bool:
    """Were these pictures not deleted, kept or given another file, as a way's name says?"""
    names = set(assets.values_list("file", flat=True))
    if way.startswith("replaced"):
        return len(names - before) != count
    return len(names & before) != (count if "rolled back" in way else 0)


def _page_in_a_jpeg() -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (48, 36), "red").save(stream, "JPEG", comment=CONTENTS[0])
    return stream.getvalue()


def _files(site: Site) -> set[str]:
    """The files that lie in the storage."""
    media = site.folder / "media"
    return {str(path.relative_to(media)) for path in media.rglob("*") if path.is_file()}


def _rows() -> set[str]:
    """The files that rows have."""
    from mediasearch.models import Asset

    return {name for names in Asset.objects.values_list("file", "thumbnail") for name in names if name}


def _left(site: Site) -> set[str]:
    files = _files(site)  # First: what is stored meanwhile gets its row later.
    return files - _rows()


def _copy(pk: int) -> int:
    """Copy a row as Django's documentation has it; return the copy's key."""
    from mediasearch.models import Asset

    asset = Asset.objects.get(pk=pk)
    asset.pk, asset._state.adding = None, True
    asset.save()
    return asset.pk


def _at_once(ids: Sequence[int], keeper: Keeper) -> None:
    """Delete pictures that share a file, in requests at the same time."""
    people = [keeper, *(Keeper(keeper.site) for _ in ids[1:])]
    threads = [threading.Thread(target=who.delete, args=[pk]) for who, pk in zip(people, ids, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _by_save(name: str, content: bytes) -> None:
    from django.core.files.base import ContentFile

    from mediasearch.models import Asset

    Asset(file=ContentFile(content, name=name)).save()


def _by_bulk_create(name: str, content: bytes) -> None:
    from django.core.files.base import ContentFile

    from mediasearch.models import Asset

    Asset.objects.bulk_create([Asset(file=ContentFile(content, name=name))])


def _by_file_api(name: str, content: bytes) -> None:
    from django.core.files.base import ContentFile

    from mediasearch.models import Asset

    Asset.objects.create().file.save(name, ContentFile(content))


@dataclass
class Keeper(Changer):
    """One person who adds, replaces and deletes pictures on the admin's own pages."""

    def add(self, name: str, data: bytes) -> bool:
        return self._send_file("/admin/mediasearch/asset/add/", {"is_public": "on"}, "file", name, data)

    def add_several(self, name: str, data: bytes) -> bool:
        return self._send_file("/admin/mediasearch/asset/upload/", {"is_public": "on"}, "pictures", name, data)

    def replace(self, asset: int, data: bytes) -> bool:
        fields = dict(self.open(asset))
        return self._send_file(f"/admin/mediasearch/asset/{asset}/change/", fields, "file", "new.html", data)

    def delete(self, asset: int) -> bool:
        path = f"/admin/mediasearch/asset/{asset}/delete/"
        return self._post(path, {"post": "yes"}).status_code == 302

    def delete_chosen(self, assets: Sequence[int]) -> bool:
        chosen: Any = {"action": "delete_selected", "_selected_action": list(map(str, assets)), "post": "yes"}
        return self._post("/admin/mediasearch/asset/", chosen).status_code == 302

    def _send_file(self, path: str, fields: dict[str, str], field: str, name: str, data: bytes) -> bool:
        token = {"csrfmiddlewaretoken": self.session.cookies["csrftoken"]}
        answer = self._send(path, {**fields, **token}, {field: (name, data, "image/jpeg")})
        return answer.status_code == 302 and answer.headers["Location"] != path


def _each(task: Callable[[Keeper, int], object]) -> Callable[[Keeper, Sequence[int]], None]:
    def go(keeper: Keeper, ids: Sequence[int]) -> None:
        for pk in ids:
            task(keeper, pk)

    return go


def _delete(keeper: Keeper, pk: int) -> None:
    from mediasearch.models import Asset

    Asset.objects.get(pk=pk).delete()


def _delete_all(keeper: Keeper, ids: Sequence[int]) -> None:
    from mediasearch.models import Asset

    Asset.objects.filter(pk__in=ids).delete()


def _replace(keeper: Keeper, pk: int) -> None:
    from mediasearch.models import Asset

    asset = Asset.objects.get(pk=pk)
    asset.file = _other(pk)
    asset.save()


def _update(keeper: Keeper, pk: int) -> None:
    from mediasearch.models import Asset

    Asset.objects.filter(pk=pk).update(file=_stored(pk))


def _bulk_update(keeper: Keeper, ids: Sequence[int]) -> None:
    from mediasearch.models import Asset

    assets = list(Asset.objects.filter(pk__in=ids))
    for asset in assets:
        asset.file = _other(asset.pk)
    Asset.objects.bulk_update(assets, ["file"])


def _roll_back(keeper: Keeper, pk: int) -> None:
    """Delete a picture in vain, and then for good."""
    from django.db import transaction

    from mediasearch.models import Asset

    with transaction.atomic():
        Asset.objects.get(pk=pk).delete()
        transaction.set_rollback(True)


def _other(number: int) -> Any:
    from django.core.files.base import ContentFile

    return ContentFile(uploads.picture(1_000_000 + number), name="other.html")


def _stored(number: int) -> str:
    """Store a file beside the library, as a site may; return its name."""
    from mediasearch.models import storage

    return str(storage().save(f"beside/{number}.png", _other(number)))


WAYS: dict[str, Callable[[Keeper, Sequence[int]], None]] = {
    "deleted on the admin's page": _each(Keeper.delete),
    "deleted by the admin's action": Keeper.delete_chosen,
    "deleted by Asset.delete()": _each(_delete),
    "deleted by QuerySet.delete()": _delete_all,
    "deleted and rolled back": _each(_roll_back),
    "replaced on the admin's page": _each(lambda keeper, pk: keeper.replace(pk, uploads.picture(2_000_000 + pk))),
    "replaced by save()": _each(_replace),
    "replaced by update()": _each(_update),
    "replaced by bulk_update()": _bulk_update,
}

if __name__ == "__main__":
    experiment(run)
