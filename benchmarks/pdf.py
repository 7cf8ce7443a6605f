"""Time and peak memory of PDF reports, by report and number of rows: `python -m benchmarks.pdf`.

Each report is written by a process of its own, from staged rows that look like `campaign_results`, to the finished
file; of that process and of its renderer the peak memory (VmHWM) is told. Nothing is compared, so it is no measure of
`make bench`.
"""

import argparse
import io
import re
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from benchmarks.process import python, run
from export_pipeline.datasets.campaign_results import DATASET
from export_pipeline.flow.memory import limit_memory
from export_pipeline.formats.pdf import FORMAT
from export_pipeline.model.format import FileContext, polars_type

REPORTS = ("executive_summary", "detailed_results", "comparison")
_NOVEMBER = datetime(2010, 11, 1, 9, tzinfo=UTC)
_MB = 1024  # /proc tells kB


def main() -> None:
    """Prints one line for each report and number of rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pdf", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[50, 2_000, 1_000_000])
    parser.add_argument("--one", nargs=2, metavar=("REPORT", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        _measure(arguments.one[0], Path(arguments.one[1]))
        return
    with tempfile.TemporaryDirectory(prefix="bench-pdf-") as folder:
        for rows in arguments.rows:
            path = Path(folder, f"{rows}.arrow")
            _calls(rows).sink_ipc(path, compression="lz4", record_batch_size=8_192)
            for report in REPORTS:
                print(
                    f"{rows:>9,}  {run(python('-m', 'benchmarks.pdf', '--one', report, str(path)), {}).output.strip()}"
                )


def _calls(rows: int) -> pl.LazyFrame:
    """Calls of three campaigns, one after the other, each completing more of them than the one before."""
    row = pl.int_range(pl.len())
    campaign = row * 3 // rows
    chance = row * 7_919 % 1_000
    status = (
        pl.when(chance < 480 + 30 * campaign).then(pl.lit("completed"))
        .when(chance < 720).then(pl.lit("no-answer")).when(chance < 860).then(pl.lit("voicemail"))
        .otherwise(pl.lit("busy"))
    )  # fmt: skip
    is_completed = status == "completed"
    started = pl.lit(_NOVEMBER) + pl.duration(days=campaign * 30 + row % 26, seconds=row * 37 % 30_000)
    seconds = pl.when(is_completed).then(60 + row * 31 % 300).otherwise(5 + row % 30)
    columns = {
        "name": pl.format("Zoë Müller {}", row % 997),
        "business_name": pl.format("Café Luna {}", row % 89),
        "phone": pl.format("+1555{}", 1_000_000 + row),
        "call_status": status,
        "started_at": started,
        "ended_at": started + pl.duration(seconds=seconds),
        "duration_seconds": seconds,
        "ended_reason": pl.when(is_completed).then(pl.lit("customer-ended-call")).otherwise(status),
        "cost_usd": seconds * 10 / 10_000,
        "recording_url": pl.when(is_completed).then(pl.format("https://recordings.example.com/{}.mp3", row)),
        "transcript_summary": pl.when(is_completed).then(pl.lit("Agent: Good morning, am I speaking with the owner?")),
        "campaign_name": pl.format("Term deposits {}", campaign + 1),
        "assistant_used": pl.lit("Ava"),
    }
    made = [columns[column.name].cast(polars_type(column)).alias(column.name) for column in DATASET.columns]
    return pl.LazyFrame({"row": pl.int_range(rows, eager=True)}).select(made)


def _measure(report: str, path: Path) -> None:
    context = FileContext("benchmark", DATASET.name, DATASET.title, DATASET.columns, _NOVEMBER, report=DATASET.report)
    target, peaks, done = io.BytesIO(), [0], threading.Event()
    watcher = threading.Thread(target=_watch_renderer, args=(peaks, done))
    watcher.start()
    started = time.perf_counter()
    FORMAT.write(pl.scan_ipc(path), target, context, FORMAT.options.model_validate({"report": report}))
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    print(
        f"{report:<18} {seconds:5.2f} s  exporting {_peak('self'):4} MB  renderer {peaks[0]:4} MB  "
        f"file {len(target.getvalue()) / 1000:6,.0f} KB"
    )


def _watch_renderer(peaks: list[int], done: threading.Event) -> None:
    """Looks at the children of this process that are the renderer: a fork that is not yet, is as large as this one."""
    while not done.wait(0.005):
        for children in Path("/proc/self/task").glob("*/children"):
            try:
                for pid in children.read_text().split():
                    if b"_pdf_render" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        peaks.append(max(peaks.pop(), _peak(pid)))
            except OSError:
                continue


def _peak(pid: str) -> int:
    """VmHWM in 2**20 bytes."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) // _MB if found else 0


if __name__ == "__main__":
    limit_memory()
    main()
