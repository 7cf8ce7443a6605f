"""Previews of every dataset with many rows behind it, each within a second: by `flow/preview.py` in a process that runs
already, as the command line and Dagster call it.
"""

import time
from collections.abc import Iterator, Mapping
from statistics import median

from pydantic import SecretStr

from benchmarks.bench import Bench
from benchmarks.filters import make_rows
from benchmarks.measures import Line, Options
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.preview import preview_export
from export_pipeline.ledger.schema import migrate_up
from export_pipeline.model.job import ExportRequest
from export_pipeline.services import open_services
from export_pipeline.settings import load_settings

#: The seconds that a preview may take.
MOST_SECONDS = 1.0
_ADMIN = "admin@example.com"


def preview(bench: Bench, options: Options) -> Iterator[Line]:
    """The first rows of each dataset as CSV; of those about campaigns also of the large one alone."""
    campaign = bench.campaign(options.rows)
    make_rows(bench, options.rows)
    migrate_up(SecretStr(bench.database_url))
    settings = load_settings(DATABASE_URL=bench.database_url, EXPORT_DIRECTORY=str(bench.folder))
    chosen = {"campaign_id": campaign.id}
    with open_services(settings) as engine:
        _seconds(engine, "campaigns", {})  # imports what the others need, too
        for name, dataset in engine.datasets.items():
            known = {item.name: item.required for item in dataset.filters}
            kinds = [chosen] if known.get("campaign_id") else [{}, *([chosen] if "campaign_id" in known else [])]
            for filters in kinds:
                found = [_seconds(engine, name, filters) for _ in range(options.repeat)]
                title = f"preview {name}" + (" of one" if filters else "")
                yield Line(title, median(found), MOST_SECONDS, "s", 1.0, f"at most {max(found):.2f} s")


def _seconds(engine: Engine, name: str, filters: Mapping[str, str]) -> float:
    started = time.perf_counter()
    [part] = preview_export(engine, ExportRequest(name, _ADMIN, filters, destination="local"))
    taken = time.perf_counter() - started
    if not part.rows:
        raise SystemExit(f"the preview of {name} has no rows")
    return taken
