"""`python -m benchmarks.faults.disclosure [--short]`: what leaves the site with a file, by every way.

A picture of each format, which says where it was taken, with which device and whose
that is, goes into the library and is fetched back by a visitor, by an editor, and by
one who is permitted to have it untouched. Pillow, the bytes themselves, and exiftool
where it is installed are the judges. Then files are damaged and cleared, as many as
asked for, and large ones are downloaded, to say how long that takes.
"""

from __future__ import annotations

import base64
import io
import os
import random
import re
import statistics
import time
import urllib.request
import warnings
from collections import Counter
from collections.abc import Iterator

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import judges, mutations, telltale
from benchmarks.faults.browser import Browser, File
from benchmarks.faults.site import Site, running, until

DAMAGED, SHORT_DAMAGED, DOWNLOADS = 20_000, 300, 15
MEGABYTES = (10, 45)
FORMATS = ("jpeg", "jpeg-multi-picture", "png", "png-magick", "webp", "tiff", "avif", "heic", "gif")
PASSWORD = "telltale"


def run(given: Given, bars: Bars) -> None:
    _damage(given, bars)
    with running("web", "worker-read", "worker-embed", "beat") as site:
        visitor, editor, archivist = _browsers(site)
        files = {name: telltale.FORMATS[name]() for name in FORMATS}
        assets = {name: _stored(data, name) for name, data in files.items()}
        waited = until(lambda: all(_has_thumbnail(pk) for pk in assets.values()), 120.0, every=0.5)
        bars.hold("thumbnails of all", waited, "within 120 s", waited is not None)
        ways = dict(_ways_out(files, assets, visitor, editor))
        _judge(files, ways, bars)
        untouched = {name: _fetched(archivist, f"/image/{pk}/original/") for name, pk in assets.items()}
        bars.equal("not the same file for the permitted", [n for n in FORMATS if untouched[n] != files[n]], [])
        if not given.short:
            _time(visitor, archivist, bars)


def _browsers(site: Site) -> tuple[Browser, Browser, Browser]:
    """Return a visitor, one who may edit, and one who may have files untouched, too."""
    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import Permission

    browsers = [Browser(site.port) for _ in range(3)]
    if until(lambda: _answers(browsers[0]), 60.0) is None:
        raise RuntimeError(f"The web server does not answer: {site.log('web')[-2_000:]}")
    editing = ["view_asset", "change_asset", "add_asset"]
    for browser, name, codenames in (
        (browsers[1], "editor", editing),
        (browsers[2], "archivist", [*editing, "download_untouched"]),
    ):
        user = get_user_model().objects.create_user(name, password=PASSWORD, is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        browser.login(name, PASSWORD)
    return browsers[0], browsers[1], browsers[2]


def _answers(browser: Browser) -> bool:
    try:
        return browser.get("/admin/login/").status == 200
    except OSError:
        return False


def _stored(data: bytes, name: str) -> int:
    from django.core.files.base import ContentFile

    from mediasearch.models import Asset

    return Asset.objects.create(file=ContentFile(data, name=f"{name}.bin"), title=name).pk


def _has_thumbnail(pk: int) -> bool:
    from mediasearch.models import Asset

    return Asset.objects.filter(pk=pk).exclude(thumbnail="").exists()


def _fetched(browser: Browser, path: str) -> bytes:
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    request = urllib.request.Request(f"http://127.0.0.1:{browser.port}{path}", headers={"Cookie": cookies})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bytes(answer.read())


def _ways_out(
    files: dict[str, bytes], assets: dict[str, int], visitor: Browser, editor: Browser
) -> Iterator[tuple[tuple[str, str], bytes]]:
    """Yield what comes back, by format and way."""
    for name, pk in assets.items():
        yield (name, "original"), _fetched(visitor, f"/image/{pk}/original/")
        yield (name, "page"), _fetched(visitor, f"/image/{pk}/")
        yield (name, "thumbnail"), _fetched(visitor, f"/thumbnail/{pk}/")
        yield (name, "original, editor"), _fetched(editor, f"/image/{pk}/original/")
        yield (name, "admin"), _fetched(editor, f"/admin/mediasearch/asset/{pk}/change/")
        visitor.get("/")
        asked = visitor.post("/", {"q": ""}, [("upload", File(f"{name}.bin", files[name]))]).text
        yield (name, "search"), asked.encode()
        for inline in re.findall(r"data:image/webp;base64,([\w+/=]+)", asked):
            yield (name, "searched with"), base64.b64decode(inline)


def _judge(files: dict[str, bytes], ways: dict[tuple[str, str], bytes], bars: Bars) -> None:
    bars.note("formats", ", ".join(files))
    bars.note("ways out", ", ".join(sorted({way for _, way in ways})))
    leaks = [key for key, sent in ways.items() if any(secret in sent for secret in telltale.SECRETS)]
    bars.equal("with GPS, serial numbers or owner, by their bytes", leaks, [])
    originals = {name: sent for (name, way), sent in ways.items() if way == "original"}
    differing = [name for name in files if list(judges.frames(originals[name])) != list(judges.frames(files[name]))]
    bars.equal("with other pixels", differing, [])
    bars.equal(
        "with another colour profile or orientation",
        [n for n, sent in originals.items() if _shown(sent) != _shown(files[n])],
        [],
    )
    if judges.EXIFTOOL is None:
        bars.note("by exiftool", "NOT MEASURED: it is not installed")
        return
    pictures = {key: sent for key, sent in ways.items() if key[1] not in ("page", "admin", "search")}
    bars.note("private fields that exiftool finds before", sum(len(judges.private(data)) for data in files.values()))
    found = {key: names for key, sent in pictures.items() if (names := judges.private(sent))}
    bars.equal("private fields that exiftool finds after", found, {})
    said = {name: " ".join(judges.said(sent).values()) for name, sent in originals.items()}
    words = (telltale.BYLINE, telltale.COPYRIGHT, telltale.CREDIT, telltale.LICENCE)
    bars.equal(
        "without by-line, copyright, credit or licence", [n for n in said if any(w not in said[n] for w in words)], []
    )


def _shown(data: bytes) -> tuple[bytes, int | None]:
    return judges.profile(data), judges.orientation(data)


def _damage(given: Given, bars: Bars) -> None:
    """Clear files that were damaged at random, in this process."""
    from mediasearch.exceptions import Withheld
    from mediasearch.features.disclosure import files

    warnings.simplefilter("ignore")
    samples = {name: make() for name, make in telltale.FORMATS.items()}
    outcomes, found, slowest = Counter[str](), list[int](), 0.0
    for number in range(SHORT_DAMAGED if given.short else DAMAGED):
        _, _, damaged = mutations.mutation(samples, given.seed, number)
        started = time.monotonic()
        try:
            left = files.cleared(damaged)
        except Withheld:
            outcomes["withheld"] += 1
        except Exception as error:
            outcomes[f"!{type(error).__name__}"] += 1
        else:
            outcomes["cleared"] += 1
            found += [number] if judges.private_tags(left) else []
        slowest = max(slowest, time.monotonic() - started)
    bars.note("damaged files", dict(outcomes))
    bars.equal("of those, private tags that Pillow finds in what is sent", found, [])
    bars.equal("of those, ended in no typed way", [what for what in outcomes if what.startswith("!")], [])
    bars.at_most("of those, the slowest", slowest, 1.0, " s")


def _time(visitor: Browser, archivist: Browser, bars: Bars) -> None:
    """Say how long downloads take, cleared and untouched."""
    for megabytes in MEGABYTES:
        pk = _stored(_large(megabytes), f"{megabytes} MB")
        for who, browser in (("untouched", archivist), ("cleared", visitor)):
            seconds = []
            for _ in range(DOWNLOADS):
                started = time.monotonic()
                size = len(_fetched(browser, f"/image/{pk}/original/"))
                seconds.append(time.monotonic() - started)
            bars.note(
                f"JPEG of {size / 1e6:.1f} MB, {who}, median and worst, ms",
                f"{1e3 * statistics.median(seconds):.0f}, {1e3 * max(seconds):.0f}",
            )
    bars.note("processors, and load over the last minute", f"{os.cpu_count()}, {os.getloadavg()[0]:.1f}")


def _large(megabytes: int) -> bytes:
    """Return a JPEG of about so many megabytes, of noise, with all that a picture says of itself."""
    from PIL import Image

    side = int((megabytes * 1e6 / 1.19) ** 0.5)
    stream = io.BytesIO()
    noise = Image.frombytes("RGB", (side, side), random.Random(megabytes).randbytes(3 * side * side))
    noise.save(stream, "JPEG", quality=90, exif=b"Exif\0\0" + telltale.exif(), xmp=telltale.XMP)
    return stream.getvalue()


if __name__ == "__main__":
    experiment(run)
