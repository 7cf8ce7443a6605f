"""The shape of the project that DESIGN decided: small modules that say what belongs there, under standard names."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = [*(ROOT / "export_pipeline").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
TESTS = [*(ROOT / "export_pipeline_tests").rglob("*.py")]
MODULES = sorted([*CODE, *TESTS])
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "shared", "core", "base"}
MOST_LINES = 400


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("module", MODULES, ids=_name)
def test_module_when_it_grows_then_stays_readable(module: Path) -> None:
    assert len(module.read_text(encoding="utf-8").splitlines()) <= MOST_LINES, "split it by what belongs together"


@pytest.mark.parametrize("module", MODULES, ids=_name)
def test_module_when_opened_then_says_what_belongs_there(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)) or (module.name == "__init__.py" and not text)


def test_names_when_given_then_are_not_vague() -> None:
    folders = {folder for module in MODULES for folder in module.relative_to(ROOT).parent.parts}
    assert (folders | {module.stem for module in MODULES}) & VAGUE == set()


def test_public_names_when_defined_then_are_documented() -> None:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    silent = [
        f"{_name(module)}: {node.name}"
        for module in CODE
        if "migrations" not in module.parts
        for node in ast.parse(module.read_text(encoding="utf-8")).body
        if isinstance(node, kinds) and not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert silent == []


def test_environment_when_read_then_only_by_the_settings() -> None:
    readers = [
        f"{_name(module)}:{node.lineno}"
        for module in (ROOT / "export_pipeline").rglob("*.py")
        if module.name != "settings.py"
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if _reads_environment(node)
    ]
    assert readers == []


def _reads_environment(node: ast.AST) -> bool:
    """Reading one variable; handing the whole environment on to a process, or setting one, is something else."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        return ast.unparse(node.value) == "os.environ"
    return isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.getenv", "os.environ.get", "getenv")


def test_requirements_when_recorded_then_are_pinned_with_hashes_and_hold_no_address() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        lines = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
        assert lines, name
        for line in lines:
            assert "==" in line and "--hash=sha256:" in line, f"{name}: {line[:60]}"
            assert "://" not in line and not line.startswith("-"), f"{name}: {line[:60]}"


def test_requirements_when_for_development_then_contain_those_for_running() -> None:
    pins = [
        {line.split(" ;")[0].split(" \\")[0] for line in (ROOT / name).read_text().splitlines() if "==" in line}
        for name in ("requirements.txt", "requirements-dev.txt")
    ]
    assert pins[0] - pins[1] == set()
