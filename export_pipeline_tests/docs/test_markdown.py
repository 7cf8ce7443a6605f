"""What the pages say is there: links, files, commands, and every part by its name."""

import re
from pathlib import Path

import pytest

from export_pipeline.model.dataset import Dataset
from export_pipeline.model.destination import DestinationType
from export_pipeline.model.format import Format
from export_pipeline.registry import load_parts
from export_pipeline.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("export_pipeline/**/*.md")])
DOCS = "\n".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("docs/*.md")))
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
PART_OF_THIS_PROJECT = re.compile(
    r"`((?:export_pipeline(?:_tests)?|docs|benchmarks|\.ci)/[\w./-]+|(?:Makefile|[\w-]+\.(?:toml|yaml|txt)))`"
)
TARGET = re.compile(r"(?:^|`)make ([a-z]+)", re.MULTILINE)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _anchors(path: Path) -> set[str]:
    text = CODE.sub("", path.read_text(encoding="utf-8"))
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_when_relative_then_lead_to_a_file_and_a_heading(page: Path) -> None:
    missing = []
    for link in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if "://" in link or link.startswith("mailto:"):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            missing.append(link)
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_paths_when_named_in_a_page_then_exist(page: Path) -> None:
    named = PART_OF_THIS_PROJECT.findall(page.read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).exists() and not (page.parent / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_make_targets_when_named_in_a_page_then_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(TARGET.findall(page.read_text(encoding="utf-8"))) <= targets


@pytest.mark.parametrize(
    ("package", "attribute", "kind"),
    [
        ("export_pipeline.datasets", "DATASET", Dataset),
        ("export_pipeline.formats", "FORMAT", Format),
        ("export_pipeline.destinations", "DESTINATION", DestinationType),
    ],
)
def test_parts_when_registered_then_are_named_in_the_docs(package: str, attribute: str, kind: type) -> None:
    parts = load_parts(package, attribute, kind)
    assert parts, f"{package} holds no part"
    assert [name for name in parts if f"`{name}`" not in DOCS] == []


def test_settings_when_read_from_the_environment_then_are_named_in_the_docs() -> None:
    names = [str(field.alias) for field in Settings.model_fields.values()]
    assert [name for name in [*names, "EXPORT_STATE_DIRECTORY"] if f"`{name}`" not in DOCS] == []


def test_settings_when_named_in_the_docs_then_exist() -> None:
    known = {str(field.alias) for field in Settings.model_fields.values()} | {"EXPORT_STATE_DIRECTORY"}
    assert set(re.findall(r"`(EXPORT_[A-Z_]+)`", DOCS)) - known == set()


def test_decisions_when_written_down_then_are_listed_and_dated() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    pages = [path for path in folder.glob("*.md") if path.name != "README.md"]
    assert [path.name for path in pages if f"({path.name})" not in index] == []
    assert [path.name for path in pages if not re.search(r"^Date: \d{4}-\d{2}-\d{2}$", path.read_text(), re.M)] == []
