"""The table of functions in docs/columns-and-templates.md is the code's. Its commands are run in `cli/`."""

from pathlib import Path

from export_pipeline.flow.catalogue import functions

PAGE = (Path(__file__).parents[2] / "docs" / "columns-and-templates.md").read_text(encoding="utf-8")


def test_functions_when_listed_on_the_page_then_as_the_code_has_them() -> None:
    rows = [f"| `{item['name']}` | `{item['example']}` | {item['description']} |" for item in functions()]
    assert [line for line in PAGE.splitlines() if line.startswith("| `")] == rows
