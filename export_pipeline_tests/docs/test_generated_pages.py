"""The generated pages of docs/ are what the code declares now."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", _generator().PAGES)
def test_generated_page_when_the_code_has_not_changed_then_is_up_to_date(page: str) -> None:
    path = ROOT / "docs" / page
    assert path.is_file() and path.read_text(encoding="utf-8") == _generator().PAGES[page](), "run `make docs`"


def test_table_when_a_cell_holds_a_bar_or_a_line_break_then_stays_one_cell() -> None:
    lines = _generator()._table(("a",), [("x | y\nz",)]).splitlines()
    assert lines == ["| a |", "| --- |", "| x \\| y z |"]
