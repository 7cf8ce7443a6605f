"""The process that renders a report, and whoever started it."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

#: Renders what never comes: the renderer waits for somebody to write its request.
RENDERING = """
import os, sys
from pathlib import Path
from export_pipeline.formats import _pdf_process

_pdf_process._prepare = lambda job, folder: os.mkfifo(folder / "request.json")
_pdf_process.render(None, Path(sys.argv[1]), still_wanted=lambda: print("rendering", flush=True))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_renderer_when_its_worker_is_killed_then_ends_too(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", RENDERING, str(tmp_path)], stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None and worker.stdout.readline() == b"rendering\n"
        [renderer] = psutil.Process(worker.pid).children()
        worker.kill()

    gone, alive = psutil.wait_procs([renderer], timeout=10)

    for process in alive:
        process.kill()
    assert gone and not alive
