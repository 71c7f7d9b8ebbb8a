"""The package as a site gets it: built, installed into a new environment, used in a new project."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = re.compile(r"\.(safetensors|pth?|bin|onnx|ckpt|npz|gguf|pkl)$")
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {"wheel": next(folder.glob("*.whl")), "sdist": next(folder.glob("*.tar.gz"))}


def names(built: dict[str, Path], kind: str) -> set[str]:
    if kind == "wheel":
        return set(zipfile.ZipFile(built["wheel"]).namelist())
    with tarfile.open(built["sdist"]) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_build__holds_no_weights(built: dict[str, Path], kind: str) -> None:
    assert not [name for name in names(built, kind) if WEIGHTS.search(name)]
    assert built[kind].stat().st_size < MEGABYTE


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_build__holds_the_package_and_no_more(built: dict[str, Path], kind: str) -> None:
    found = names(built, kind)
    for path in ("py.typed", "migrations/0001_initial.py", "templates/mediasearch/search.html"):
        assert f"mediasearch/{path}" in found
    assert any(name.startswith("mediasearch/static/mediasearch/") for name in found)
    assert "mediasearch/locale/zh_Hans/LC_MESSAGES/django.mo" in found
    assert not [name for name in found if name.startswith(("project/", "tests/", "benchmarks/", "docker/"))]


@pytest.fixture(scope="module")
def environment(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel in it, and only what the wheel asks for."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, str(built["wheel"])], check=True)
    return folder


def test_install__is_small_and_has_no_torch(environment: Path) -> None:
    packages = next((environment / "lib").glob("python*/site-packages"))
    ours = [path for path in packages.iterdir() if not path.name.startswith(("pip", "setuptools", "pkg_resources"))]
    files = [file for path in ours for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 200 * MEGABYTE
    assert not {path.name.lower() for path in ours} & {"torch", "open_clip", "transformers", "onnxruntime", "wagtail"}


def from_readme(file: str) -> str:
    """The lines that README.md tells a site to add."""
    block = re.search(rf"```python\n# {re.escape(file)}\n(.+?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block
    return block[1]


USE = """
import io, os
os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
import django; django.setup()
from django.core.checks import run_checks
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import reverse
from PIL import Image
import mediasearch
from mediasearch.indexing import generations, worker
from mediasearch.models import Asset, Stage
for colour in ("red", "blue"):
    stream = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(stream, "PNG")
    Asset.objects.create(file=ContentFile(stream.getvalue(), name=f"{colour}.png"), title=f"number {colour[0]}")
generations.ensure_active()
worker.drain(list(Stage))
assert [hit.asset.title for hit in mediasearch.search("red")] == ["number r", "number b"]
page = Client().get("/pictures/", {"q": "red"})
assert page.status_code == 200, page.status_code
assert page.content.index(b"number r") < page.content.index(b"number b")
private = Asset.objects.get(title="number r")
Asset.objects.filter(pk=private.pk).update(is_public=False)
addresses = [reverse(f"mediasearch:{name}", args=[private.pk]) for name in ("asset", "thumbnail", "original")]
addresses += [f"/media/{private.file.name}", f"/{private.thumbnail}"]
assert [Client().get(address).status_code for address in addresses] == [404] * 5
assert not [message for message in run_checks() if message.id == "mediasearch.W014"]
print("used")
"""


def test_install__works_in_a_new_project(environment: Path, tmp_path: Path) -> None:
    python = str(environment / "bin/python")
    subprocess.run([python, "-m", "django", "startproject", "shop", str(tmp_path)], check=True)
    address = urlsplit(os.environ["DATABASE_URL"])
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute("DROP DATABASE IF EXISTS shop")
        server.execute("CREATE DATABASE shop")
    settings = tmp_path / "shop/settings.py"
    settings.write_text(
        settings.read_text()
        + f"\nimport sys\nsys.path.append({str(tmp_path)!r})\n"
        + from_readme("settings.py")
        # What a test must put in the place of a model of 600 MB and of a worker beside it.
        + 'MEDIASEARCH |= {"ENCODER": {"BACKEND": "mediasearch.features.fake.FakeEncoder"},'
        ' "QUERY_ENCODER": {"BACKEND": "mediasearch.features.local.Local"}, "READER": None}\n'
        + "from psycopg.conninfo import conninfo_to_dict\n"
        f"_place = conninfo_to_dict({address._replace(path='/shop').geturl()!r})\n"
        'DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "shop",'
        ' "HOST": _place.get("host", ""), "PORT": _place.get("port", ""), "USER": _place.get("user", ""),'
        ' "PASSWORD": _place.get("password", "")}}\n'
        'ALLOWED_HOSTS = ["testserver"]\nCELERY_BROKER_URL = "memory://"\nMEDIA_ROOT = BASE_DIR / "media"\n'
        'MEDIA_URL = "media/"\n'
    )
    urls = tmp_path / "shop/urls.py"
    urls.write_text(urls.read_text() + "\nfrom django.urls import include\n" + from_readme("urls.py"))
    clean = {name: value for name, value in os.environ.items() if name not in ("DJANGO_SETTINGS_MODULE", "PYTHONPATH")}
    for arguments in (["manage.py", "migrate", "--verbosity", "0"], ["manage.py", "makemigrations", "--check"]):
        subprocess.run([python, *arguments], check=True, cwd=tmp_path, env=clean, stdout=subprocess.DEVNULL)
    result = subprocess.run([python, "-c", USE], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)
    assert result.stdout.strip().endswith("used"), result.stderr
