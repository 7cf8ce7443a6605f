"""`python -m benchmarks.plot FILE… IMAGE.svg`: the ratios that `--json` wrote, as bars, with what each may be at most.

Of a measure that several files have, the last one counts.
"""

import json
import sys
from pathlib import Path
from typing import Any

_MISSED, _KEPT, _LIMIT = "#c2410c", "#0f766e", "#111827"


def plot(lines: list[dict[str, Any]]) -> str:
    """The picture, as SVG."""
    import vl_convert

    measure = {"field": "name", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 300}}
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": "white",
        "width": 560,
        "data": {"values": lines},
        "layer": [
            {
                "mark": {"type": "bar", "height": {"band": 0.6}},
                "encoding": {
                    "y": measure,
                    "x": {"field": "ratio", "type": "quantitative", "title": "ours : reference (less is better)"},
                    "color": {
                        "field": "kept",
                        "title": "within the aim",
                        "scale": {"domain": [True, False], "range": [_KEPT, _MISSED]},
                        "legend": {"labelExpr": "datum.value ? 'yes' : 'no'"},
                    },
                },
            },
            {
                "mark": {"type": "tick", "color": _LIMIT, "thickness": 3},
                "encoding": {"y": measure, "x": {"field": "limit", "type": "quantitative"}},
            },
        ],
    }
    return str(vl_convert.vegalite_to_svg(spec))


def main() -> None:
    """Reads the files, and writes the picture."""
    *files, image = map(Path, sys.argv[1:])
    lines = {line["name"]: line for file in files for line in json.loads(file.read_text())}
    image.write_text(plot(list(lines.values())))


if __name__ == "__main__":
    main()
