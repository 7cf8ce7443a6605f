"""Runs the renderer (`_pdf_render.py`) in a process of its own, within limits, and says what went wrong in there.

The folder is the caller's, who removes it; the process never outlives the call, nor, on Linux, the caller.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from export_pipeline.formats._pdf_branding import Brand
from export_pipeline.model.errors import Broken, Rejected, Transient

#: What the renderer may allocate. Measured: 2,000 rows of 11 columns 1.0 GB, of which 0.5 GB are stacks and V8's
#: reserves that are never touched (0.5 GB resident), and 1.7 GB where every cell is a word of several lines; a summary
#: 0.6 GB (0.12 resident).
MOST_BYTES = 2 << 30
#: Measured: 2,000 rows of 11 columns 2.5 s, and 11 s where every cell is a word of several lines. A process that needs
#: so long is stuck, or the machine is overloaded.
MOST_SECONDS = 120
#: How often the caller is asked whether to go on (seconds).
_LOOK_SECONDS = 0.1

#: What Python, typst (Rust), V8 and C++ say last where the limit leaves them no memory.
_OUT_OF_MEMORY = (b"MemoryError", b"memory allocation of", b"out of memory", b"bad_alloc")

_HERE = Path(__file__).parent
_RENDERER = _HERE / "_pdf_render.py"
_TEMPLATE = _HERE / "_pdf_report.typ"


@dataclass(frozen=True)
class Job:
    """What is to be rendered: the document for the template, and its charts (Vega-Lite specs by file name)."""

    document: Mapping[str, Any]
    charts: Mapping[str, Any]
    format_locale: Mapping[str, Any]
    timestamp: datetime
    brand: Brand


class MissingGlyphs(Exception):
    """The document has characters that no available font can show."""

    def __init__(self, characters: list[str]) -> None:
        super().__init__("no font has some characters")
        self.characters = characters


def render(job: Job, folder: Path, *, still_wanted: Callable[[], object]) -> Path:
    """The finished PDF, in the folder. `still_wanted` is called every so often; what it raises ends the process and
    passes. Raises MissingGlyphs, Rejected (too much memory), Transient (too long, killed from outside), Broken (the
    branding, a defect)."""
    _prepare(job, folder)
    own = [str(os.getpid()), str(folder), str(MOST_BYTES), str(MOST_SECONDS)]
    arguments = [sys.executable, "-I", str(_RENDERER), *own]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            arguments, env={}, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            code = _wait(process, still_wanted)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
    if code == 0:
        return folder / "report.pdf"
    raise _failure(code, folder, job.brand)


def _prepare(job: Job, folder: Path) -> None:
    shutil.copyfile(_TEMPLATE, folder / "report.typ")
    (folder / "fonts").mkdir()
    for font in job.brand.fonts:
        shutil.copyfile(font, folder / "fonts" / font.name)
    if job.brand.logo is not None:
        shutil.copyfile(job.brand.logo, folder / job.brand.logo.name)
    (folder / "document.json").write_text(json.dumps(job.document), encoding="utf-8")
    request = {
        "charts": job.charts,
        "format_locale": job.format_locale,
        "timestamp": int(job.timestamp.timestamp()),
    }
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")


def _wait(process: subprocess.Popen[bytes], still_wanted: Callable[[], object]) -> int:
    deadline = time.monotonic() + MOST_SECONDS
    while True:
        still_wanted()
        try:
            return process.wait(_LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                raise _too_long() from None


def _too_long() -> Transient:
    return Transient(
        f"the PDF was not rendered within {MOST_SECONDS} seconds: the machine may be overloaded; try again"
    )


def _failure(code: int, folder: Path, brand: Brand) -> Exception:
    """The error that the renderer ended with."""
    try:
        found = json.loads((folder / "error.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return _crash(code, folder)
    names = ", ".join(found["names"])
    match found["kind"]:
        case "glyphs":
            return MissingGlyphs(found["names"])
        case "fonts":
            return Broken(f"the branding folder's fonts/ holds what is no readable font: {names}; replace or remove it")
        case "families":
            return Broken(f"branding.toml: fonts names {names}, which no font has; there are: {found['detail']}")
        case _:
            return Broken(f"{brand.logo} cannot be drawn ({found['detail']}); replace it by a plain SVG or PNG")


def _crash(code: int, folder: Path) -> Exception:
    """What an end without a word means. A negative code is a signal, by which typst and V8 end when memory is short,
    but not only then."""
    if code == -signal.SIGXCPU:
        return _too_long()
    log = (folder / "log.txt").read_bytes()
    if code in (-signal.SIGKILL, -signal.SIGTERM):
        # No limit ends it so: somebody did, or the kernel, whose machine has no memory left.
        return Transient(
            f"the renderer of the PDF was killed ({signal.Signals(-code).name}): the machine may be short of memory; "
            "try again"
        )
    if any(said in log for said in _OUT_OF_MEMORY):
        return Rejected(
            f"the PDF needs more memory than the {MOST_BYTES >> 20:,} MB that a report may take; ask for fewer "
            "columns, or for another format (xlsx, csv, parquet)"
        )
    # The log may hold a row's values: only its last word, the kind of error, is told.
    kind = log.rstrip().rpartition(b"\n")[2].partition(b":")[0].decode("utf-8", "replace")[:60] if code > 0 else ""
    kind = kind or (f"exit code {code}" if code > 0 else f"signal {-code}")
    return Broken(f"the PDF could not be rendered ({kind}); this is a defect, please report it")
