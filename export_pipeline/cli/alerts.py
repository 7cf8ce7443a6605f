"""Commands about alerts: try them."""

import click

from export_pipeline.cli.exports import json_option
from export_pipeline.cli.output import console, print_json
from export_pipeline.flow.alerts import tell_test
from export_pipeline.settings import load_settings


@click.group()
def alerts() -> None:
    """Alerts about exports that failed (docs/alerts.md)."""


@alerts.command()
@json_option
def test(as_json: bool) -> None:
    """Send a test message each way that is set up, and tell what came of it."""
    outcome = {name: str(error) if error else None for name, error in tell_test(load_settings()).items()}
    if as_json:
        print_json({"sent": {name: error is None for name, error in outcome.items()}, "errors": outcome})
    else:
        for name, error in outcome.items():
            console.print(f"{name}: {f'not sent: {error}' if error else 'sent'}", markup=False)
    if any(outcome.values()):
        raise SystemExit(5)


COMMANDS = (alerts,)
