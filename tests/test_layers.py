"""The way data flows, held by the imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import mediasearch

ROOT = Path(mediasearch.__file__).parent
LAYERS = [
    {"exceptions"},
    {"conf"},
    {"features"},
    {"fulltext", "naming", "storages"},
    {"shared_rows"},
    {"derivation", "identity", "models", "querysets", "migrations", "storing"},
    {"sources"},
    {"indexing"},
    {"tasks"},
    {"search"},
    {"rag"},
    {"training"},
    {
        "admin",
        "api",
        "apps",
        "asking",
        "categories",
        "changelists",
        "checks",
        "clients",
        "contrib",
        "forms",
        "jobs_admin",
        "limits",
        "management",
        "paging",
        "ranked",
        "redaction",
        "templatetags",
        "urls",
        "views",
    },
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
WRITE_PATH = {"indexing", "tasks"}


def layer(module: str) -> str:
    return module.split(".")[1]


def modules() -> Iterator[Path]:
    return (path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def imported(path: Path) -> Iterator[str]:
    """The modules of mediasearch that a file imports at run time, at any depth of its code."""
    for node in ast.walk(without_type_checking(ast.parse(path.read_text()))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "mediasearch":
            if node.module == "mediasearch":
                yield from (f"mediasearch.{alias.name}" for alias in node.names)
            else:
                yield node.module
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("mediasearch."))


def without_type_checking(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return tree


def name_of(path: Path) -> str:
    return "mediasearch." + ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", sorted(modules()), ids=name_of)
def test_imports__point_down(path: Path) -> None:
    own = layer(name_of(path))
    assert own in RANK, f"{own} has no place in the floor plan"
    for target in imported(path):
        assert RANK[layer(target)] <= RANK[own], f"{name_of(path)} imports {target} from above"


@pytest.mark.parametrize("path", sorted((ROOT / "search").rglob("*.py")), ids=name_of)
def test_imports__the_read_path_knows_no_write_path(path: Path) -> None:
    assert not {layer(target) for target in imported(path)} & WRITE_PATH


@pytest.mark.parametrize("path", sorted(set(modules()) - set((ROOT / "contrib").rglob("*.py"))), ids=name_of)
def test_imports__nothing_needs_contrib_or_the_packages_it_is_for(path: Path) -> None:
    assert "contrib" not in {layer(target) for target in imported(path)}
    assert not re.search(r"^\s*(import|from) (health_check|prometheus_client|pythonjsonlogger)", path.read_text(), re.M)


CORE = [
    "base",
    "child",
    "claims",
    "hashing",
    "images",
    "language",
    "lexemes",
    "metadata",
    "passages",
    "reranking",
    "signatures",
]


DISCLOSURE = [f"disclosure/{path.stem}" for path in sorted((ROOT / "features" / "disclosure").glob("*.py"))]
STRUCTURE = [f"structure/{path.stem}" for path in sorted((ROOT / "features" / "structure").glob("*.py"))]


@pytest.mark.parametrize("name", [*CORE, *DISCLOSURE, *STRUCTURE, "sandbox", "vocabulary"])
def test_imports__the_core_below_knows_no_django(name: str) -> None:
    tree = ast.parse((ROOT / "features" / f"{name}.py").read_text())
    found = {
        module.split(".")[0]
        for node in ast.walk(tree)
        for module in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    assert not found & {"django", "torch", "celery"}


@pytest.mark.parametrize(
    "path", sorted(p for p in modules() if RANK[layer(name_of(p))] == len(LAYERS) - 1), ids=name_of
)
def test_files__leave_through_one_function(path: Path) -> None:
    """A shell that sends an asset's file takes it from `open_original`; thumbnails hold pixels only."""
    assert not re.search(r"source_of\(.*?\)\.open\(|\bfiles\.read\(|\.file\.(open|read|url|chunks)\b", path.read_text())


def test_imports__the_test_sees_imports() -> None:
    assert "mediasearch.models" in set(imported(ROOT / "search" / "engine.py"))
