"""`make bench`: runs the measures and prints one table of ratios. Fails where a promise is not kept."""

import argparse
import json
import sys
from pathlib import Path

from benchmarks.bench import running
from benchmarks.filters import filters
from benchmarks.measures import MEASURES as OTHERS
from benchmarks.measures import Line, Options
from benchmarks.preview import preview

MEASURES = {**OTHERS, "filters": filters, "preview": preview}


def main() -> int:
    """Returns 1 where a ratio is above its limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the large campaign")
    parser.add_argument("--small-rows", type=int, default=100_000, help="rows of the small one, for memory")
    parser.add_argument("--xlsx-rows", type=int, default=200_000)
    parser.add_argument("--dagster-rows", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=5, help="runs of each, of which the median counts")
    parser.add_argument("--only", default=",".join(MEASURES), help="some of: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the lines there")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    if unknown := [name for name in chosen if name not in MEASURES]:
        parser.error(f"no measure is called {', '.join(unknown)}")
    options = Options(
        rows=arguments.rows,
        small_rows=min(arguments.small_rows, arguments.rows),
        xlsx_rows=min(arguments.xlsx_rows, arguments.rows),
        dagster_rows=arguments.dagster_rows,
        repeat=arguments.repeat,
    )
    lines: list[Line] = []
    print(f"{options.rows:,} rows, medians of {options.repeat}; less is better", flush=True)
    print(f"{'measure':<26}{'ours':>10}{'reference':>12}{'ratio':>8}{'limit':>8}", flush=True)
    with running() as bench:
        for name in chosen:
            for line in MEASURES[name](bench, options):
                lines.append(line)
                print(_text(line), flush=True)
    if arguments.json:
        found = [{**vars(line), "ratio": line.ratio, "kept": line.kept} for line in lines]
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if all(line.kept for line in lines) else 1


def _text(line: Line) -> str:
    figures = (
        f"{line.ours:>7.2f} {line.unit:<2}{line.reference:>9.2f} {line.unit:<2}{line.ratio:>8.2f}{line.limit:>8.2f}"
    )
    return f"{line.name:<26}{figures}  {'ok  ' if line.kept else 'MISS'}  {line.note}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
