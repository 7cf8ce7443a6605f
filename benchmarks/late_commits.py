"""Thousands of incremental exports while writers commit out of order: `python -m benchmarks.late_commits` prints how
many rows were lost or came twice, and how long the exports took. It starts a PostgreSQL of its own.
"""

import argparse
import json
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

from export_pipeline.embedded.postgres import Postgres
from export_pipeline.embedded.processes import free_ports
from export_pipeline.services import open_services
from export_pipeline.settings import load_settings
from export_pipeline_tests.flow.late_writers import export_while_writing
from export_pipeline_tests.orchestration.conftest import made_world


def main() -> None:
    """Runs it and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exports", type=int, default=2000, help="how many exports, one after the other")
    exports = parser.parse_args().exports
    with TemporaryDirectory(prefix="late-commits-") as folder:
        server = Postgres(Path(folder), free_ports(1)[0], durable=False)
        process = server.start(owned=True)
        try:
            world = made_world(server.url())
            with open_services(load_settings(DATABASE_URL=world.url)) as engine:
                tally = export_while_writing(engine, world.campaign, exports)
        finally:
            server.stop(process)
    print(
        json.dumps(
            {
                "exports": tally.exports,
                "with open transactions": tally.late,
                "transactions": tally.transactions,
                "rows delivered": tally.delivered,
                "rows lost": tally.lost,
                "rows repeated": tally.repeated,
                "median seconds": round(median(tally.seconds), 4),
                "95th percentile seconds": round(quantiles(tally.seconds, n=20)[-1], 4),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
