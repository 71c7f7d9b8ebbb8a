"""`python -m benchmarks.faults.stale [--seed N] [--short]`: pictures that were indexed meanwhile are saved again.

The objects of the uploads stay in memory, as a view or an import has them, while real workers index the pictures and
adopt what the files say. Then each is stored again in one of the ways that Django has for it. Half of the jobs were
pruned by then, so that their rows remember what they had done.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import described
from benchmarks.faults.site import Site, await_model, running, until

EACH, SHORT, LONGEST, FOLLOWED = 50, 4, 300.0, 60.0
NEW = "Quay"
Save = Callable[[Sequence[Any]], None]


def run(given: Given, bars: Bars) -> None:
    each = SHORT if given.short else EACH
    with running("worker", settings={"READER": described.READER, "DOORBELL": "postgresql"}) as site:
        from mediasearch.models import Job

        await_model()
        uploaded = [described.upload(number) for number in range(each * len(WAYS))]
        kept = dict(zip(WAYS, (uploaded[start :: len(WAYS)] for start in range(len(WAYS))), strict=True))
        fixture = _fixture(kept["loaddata over them"])
        (site.folder / "stale.json").write_text(fixture)
        _await_all(bars)
        _prune_half()
        before = {way: described.rows(asset.pk for asset in assets) for way, assets in kept.items()}
        bars.equal("rows that workers left incomplete", _incomplete(before), 0)
        errors: Counter[str] = Counter()
        for way, (save, _, _) in WAYS.items():
            try:
                save(kept[way])
            except Exception as error:  # Whatever it is: the site would have seen it.
                errors[f"{way}: {type(error).__name__}: {error}"] += 1
        inspected = Job.objects.filter(stage__in=["inspect", "read", "embed_image"]).unfinished().count()
        _await_all(bars)
        # A fixture may bring jobs along that are not loaded yet: what follows from it is left to the workers.
        loaded = [asset.pk for asset in kept["loaddata over them"]]
        followed = until(lambda: not described.unfound(loaded, NEW.lower()), FOLLOWED, every=0.5)
        bars.note("seconds until search follows a fixture", followed)
        _await_all(bars)
        _judge(bars, kept, before)
        bars.equal("ways that raised an error", dict(errors), {})
        bars.note("jobs owed again whose file has not changed", inspected)
        _restore(bars, site, [asset.pk for asset in kept["save() of a title"]])
        _ignore(bars, site, uploaded[0], each * len(WAYS))


def _judge(bars: Bars, kept: dict[str, Sequence[Any]], before: dict[str, dict[int, dict[str, Any]]]) -> None:
    for way, (_, changed, told) in WAYS.items():
        ids = [asset.pk for asset in kept[way]]
        losses = described.lost(before[way], described.rows(ids), changed)
        losses["the word that was read"] = described.unfound(ids, described.READ.lower())
        title = NEW if "title" in changed else described.TITLE
        losses["the title's word"] = described.unfound(ids, title.lower())
        if told:  # Whoever stores whole rows that were never read says what they are to hold.
            bars.note(f"{way}: texts put back to what they were said to be", {n: losses.pop(n, 0) for n in told})
        bars.equal(f"{way}: fields lost in {len(ids)} rows", dict(+losses), {})


def _incomplete(before: dict[str, dict[int, dict[str, Any]]]) -> int:
    wanted = (*described.MEASURED, *described.ADOPTED)
    return sum(row[name] in (None, "", []) for rows in before.values() for row in rows.values() for name in wanted)


def _await_all(bars: Bars) -> None:
    from mediasearch.models import Job

    if until(lambda: not Job.objects.unfinished().exists(), LONGEST) is None:
        bars.equal("jobs left", Job.objects.progress(), {})


def _prune_half() -> None:
    from datetime import timedelta

    from django.db.models.functions import Now

    from mediasearch.indexing import pruning
    from mediasearch.models import Job

    long_ago = Now() - timedelta(days=400)
    odd = [pk for pk in Job.objects.values_list("asset", flat=True) if pk % 2]
    Job.objects.filter(asset__in=odd).update(finished_at=long_ago)
    pruning.prune_jobs(1_000_000)


def _restore(bars: Bars, site: Site, ids: Sequence[int]) -> None:
    """Load a backup where the rows are gone."""
    from django.core import serializers
    from django.core.management import call_command
    from django.db import connection

    from mediasearch.models import Asset

    before = described.rows(ids)
    (site.folder / "backup.json").write_text(serializers.serialize("json", Asset.objects.filter(pk__in=ids)))
    with connection.cursor() as cursor:
        for table in ("embedding", "job", "asset"):
            column = "id" if table == "asset" else "asset_id"
            cursor.execute(f"DELETE FROM mediasearch_{table} WHERE {column} = ANY (%s)", [list(ids)])
    call_command("loaddata", str(site.folder / "backup.json"), verbosity=0)
    losses = described.lost(before, described.rows(ids))
    losses["the word that was read"] = described.unfound(ids, described.READ.lower())
    bars.equal("loaddata where the rows are gone: fields lost", dict(+losses), {})


def _ignore(bars: Bars, site: Site, known: Any, number: int) -> None:
    """Insert a row that is there and one that is not, conflicts ignored."""
    from django.core.files.base import ContentFile

    from mediasearch.models import Asset

    before = described.rows([known.pk])
    new = Asset(file=ContentFile(described.picture(number), name="new.jpg"))
    try:
        Asset.objects.bulk_create([known, new], ignore_conflicts=True)
    except Exception as error:
        bars.equal("bulk_create(ignore_conflicts=True)", f"{type(error).__name__}: {error}", "no error")
        return
    bars.equal("ignore_conflicts: fields lost", dict(described.lost(before, described.rows([known.pk]))), {})
    site.kill("worker")  # One that starts looks thoroughly at once.
    indexed = Asset.objects.filter(file=new.file.name).exclude(content_hash="").exclude(ocr_text="")
    took = until(indexed.exists, LONGEST)
    bars.at_most("ignore_conflicts: until the new row is indexed", float("inf") if took is None else took, 90.0, " s")


def _fixture(assets: Sequence[Any]) -> str:
    """The rows as they were before they were indexed, under another title."""
    from django.core import serializers

    from mediasearch.models import Asset

    stored = json.loads(serializers.serialize("json", Asset.objects.filter(pk__in=[asset.pk for asset in assets])))
    for one in stored:
        one["fields"] |= dict.fromkeys(("thumbnail", "content_hash", "mime_type", "ocr_text", "caption"), "")
        one["fields"] |= dict.fromkeys(("width", "height", "byte_size", "perceptual_hash", "text_vector"))
        one["fields"] |= {"ocr_words": [], "settled": {}, "title": NEW}
    return json.dumps(stored)


def _save(assets: Sequence[Any], values: dict[str, Any], **options: Any) -> None:
    for asset in assets:
        for name, value in values.items():
            setattr(asset, name, value)
        asset.save(**options)


def _only(assets: Sequence[Any]) -> None:
    from mediasearch.models import Asset

    _save(Asset.objects.filter(pk__in=[asset.pk for asset in assets]).only("title"), {"title": NEW})


def _update_or_create(assets: Sequence[Any]) -> None:
    for asset in assets:
        type(asset).objects.update_or_create(pk=asset.pk, defaults={"title": NEW})


def _bulk_update(assets: Sequence[Any]) -> None:
    for asset in assets:
        asset.title = NEW
    type(assets[0]).objects.bulk_update(assets, ["title"])


def _upsert(assets: Sequence[Any]) -> None:
    for asset in assets:
        asset.title = NEW
    options = {"update_conflicts": True, "unique_fields": ["id"], "update_fields": ["title"]}
    type(assets[0]).objects.bulk_create(assets, **options)


def _rebuilt(assets: Sequence[Any]) -> None:
    for asset in assets:
        type(asset)(pk=asset.pk, file=asset.file.name, title=NEW).save()


def _load(assets: Sequence[Any]) -> None:
    import os
    from pathlib import Path

    from django.core.management import call_command

    call_command("loaddata", str(Path(os.environ["MEDIASEARCH_DATA"]) / "stale.json"), verbosity=0)


_TEXTS = ("caption", "caption_source", "tags", "copyright", "taken_at")
WAYS: dict[str, tuple[Save, tuple[str, ...], tuple[str, ...]]] = {
    "save() of a title": (partial(_save, values={"title": NEW}), ("title",), ()),
    "save() of a category": (partial(_save, values={"category": "ships"}), (), ()),
    "save() of nothing": (partial(_save, values={}), (), ()),
    "save(update_fields)": (partial(_save, values={"title": NEW}, update_fields=["title"]), ("title",), ()),
    "only('title'), save()": (_only, ("title",), ()),
    "update_or_create": (_update_or_create, ("title",), ()),
    "bulk_update": (_bulk_update, ("title",), ()),
    "bulk_create(update_conflicts)": (_upsert, ("title",), ()),
    "Asset(pk=...).save()": (_rebuilt, ("title",), _TEXTS),
    "loaddata over them": (_load, ("title",), _TEXTS),
}
"""How assets are stored again; which fields that changes, and which others it names without having read them."""

if __name__ == "__main__":
    experiment(run)
