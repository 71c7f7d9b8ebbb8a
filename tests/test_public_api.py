from __future__ import annotations

import subprocess
import sys

import pytest

import mediasearch


def test_all__is_sorted_and_whole() -> None:
    assert mediasearch.__all__ == sorted(mediasearch.__all__)
    assert set(mediasearch._HOMES) == set(mediasearch.__all__) - {"__version__"}
    assert dir(mediasearch) == sorted(mediasearch.__all__)


@pytest.mark.parametrize("name", mediasearch.__all__)
def test_all__each_name_is_there(name: str) -> None:
    assert getattr(mediasearch, name) is not None


def test_search__is_a_function_whatever_was_imported_before() -> None:
    import mediasearch.search.engine

    assert callable(mediasearch.search)


def test_getattr__unknown() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = mediasearch.nonsense


def test_import__needs_no_settings() -> None:
    code = "import sys, mediasearch; print(mediasearch.__version__, 'django' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == [mediasearch.__version__, "False"]


def test_web_process__imports_no_torch() -> None:
    """A process that serves pages, searches and imports all of the app but the models' own modules."""
    code = """
import sys, os
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django; django.setup()
from django.core.management import call_command
from django.urls import get_resolver
get_resolver().url_patterns
import mediasearch, mediasearch.admin, mediasearch.views, mediasearch.tasks, mediasearch.search.engine
mediasearch.search
call_command("check")
print([name for name in ("torch", "open_clip", "transformers", "onnxruntime") if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip().splitlines()[-1] == "[]"
