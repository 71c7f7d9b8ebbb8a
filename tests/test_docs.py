"""What users can set, run and be told is documented."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest

from mediasearch import checks, conf
from mediasearch.features import local, openclip, rapid, remote, reranking, tesseract

ROOT = Path(__file__).resolve().parent.parent
DOCS = {path.name: path.read_text() for path in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]}


@pytest.mark.parametrize("field", fields(conf.Settings), ids=lambda field: field.name)
def test_settings__each_key_with_its_default(field: object) -> None:
    name, default = field.name.upper(), getattr(conf.Settings(), field.name)  # type: ignore[attr-defined]
    row = re.search(rf"^\| `{name}` \| (.+?) \|", DOCS["settings.md"], re.MULTILINE)
    assert row, f"docs/settings.md does not explain {name}"
    if isinstance(default, int | float | str):
        assert row[1].strip("`").replace("_", "").strip('"') == str(default).replace("_", "")
    if isinstance(default, conf.Spec):
        assert default.backend.rpartition(".")[2] in row[1]


@pytest.mark.parametrize(
    "backend",
    [openclip.OpenClip, remote.Remote, local.Local, rapid.RapidOcr, tesseract.Tesseract, reranking.Features],
)
def test_settings__each_option(backend: type) -> None:
    for name, option in inspect.signature(backend).parameters.items():
        defaults = re.findall(rf"^\| `{name}` \| `?(.*?)`? \|", DOCS["settings.md"], re.MULTILINE)
        assert defaults, f"docs/settings.md does not explain {name}"
        if isinstance(option.default, int | float | str):
            shown = [default.replace("_", "").strip('"') for default in defaults]
            assert str(option.default).replace("_", "") in shown, f"docs/settings.md has another default for {name}"


@pytest.mark.parametrize("path", sorted((ROOT / "mediasearch/management/commands").glob("[a-z]*.py")), ids=str)
def test_commands__each(path: Path) -> None:
    assert f"## `{path.stem}" in DOCS["commands.md"]
    for option in re.findall(r'add_argument\("(--[a-z-]+)"', path.read_text()):
        assert f"`{option}" in DOCS["commands.md"], f"{path.stem} has an option {option} that nobody explains"


def test_checks__each() -> None:
    sources = [path.read_text() for path in Path(inspect.getfile(checks)).parent.glob("*.py")]
    used = set(re.findall(r"mediasearch\.[EW]\d{3}", "".join(sources)))
    documented = set(re.findall(r"^\| `(mediasearch\.[EW]\d{3})`", DOCS["checks.md"], re.MULTILINE))
    assert used == documented


@pytest.mark.parametrize("name", sorted(DOCS))
def test_links__lead_somewhere(name: str) -> None:
    base = ROOT if name == "README.md" else ROOT / "docs"
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", DOCS[name]):
        assert (base / target).exists(), f"{name} links to {target}, which is not there"
