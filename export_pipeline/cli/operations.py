"""Commands for whoever runs this: migrations, retention, sweep, the sample data."""

import click

from export_pipeline.cli.exports import json_option
from export_pipeline.cli.output import console, print_json
from export_pipeline.embedded.sample import load_contacts, load_sample
from export_pipeline.flow.retention import run_retention
from export_pipeline.ledger.schema import migrate_down, migrate_up, migration_status
from export_pipeline.services import open_services
from export_pipeline.settings import load_settings


@click.group()
def migrate() -> None:
    """The schema `exports` in DATABASE_URL."""


@migrate.command()
@json_option
def up(as_json: bool) -> None:
    """Bring the schema to this version."""
    settings = load_settings()
    migrate_up(settings.database_url)
    _print_status(as_json)


@migrate.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def down(yes: bool, as_json: bool) -> None:
    """Remove the schema, with the whole history of exports and the audit log."""
    if not yes:
        click.confirm("This deletes the history of all exports and the audit log. Go on?", abort=True)
    migrate_down(load_settings().database_url)
    _print_status(as_json)


@migrate.command()
@json_option
def status(as_json: bool) -> None:
    """Tell which version the schema has."""
    _print_status(as_json)


@click.group()
def sample() -> None:
    """Sample data, in EXPORT_SOURCE_URL (or DATABASE_URL)."""


@sample.command()
@click.option("--contacts", type=click.IntRange(min=0), help="Add one campaign with so many contacts.")
@click.option("--owner", metavar="EMAIL", help="Whose campaign it is.")
@json_option
def load(contacts: int | None, owner: str | None, as_json: bool) -> None:
    """Load the sample campaigns (once); with --contacts, add one more campaign."""
    source = load_settings().source
    campaign = load_sample(source)
    if contacts is not None:
        campaign = load_contacts(source, contacts, **({"owner": owner} if owner else {}))
    if as_json:
        print_json(vars(campaign))
    else:
        console.print(
            f"campaign {campaign.campaign_id} of {campaign.owner}: "
            f"{campaign.contacts:,} contacts, {campaign.calls:,} calls"
        )


@click.group()
def retention() -> None:
    """The end of exports' lives."""


@retention.command()
@click.option("--dry-run", is_flag=True, help="Only list what would be deleted.")
@json_option
def run(dry_run: bool, as_json: bool) -> None:
    """Delete expired files, old extracts, stale uploads, killed workers' folders. Rows and the audit log stay."""
    with open_services() as engine:
        report = run_retention(engine, dry_run=dry_run)
    if as_json:
        print_json(vars(report))
    else:
        verb = "would go" if dry_run else "went"
        console.print(
            f"{verb}: {len(report.expired)} exports, {len(report.extracts)} sets of extracts, "
            f"{len(report.aborted_uploads)} stale uploads, {len(report.abandoned)} temporary folders"
        )
        for item in (*report.expired, *report.extracts, *report.aborted_uploads, *report.abandoned):
            console.print(f"  {item}")
    for error in report.errors:
        console.print(f"  not done: {error}", markup=False)
    if report.errors:
        raise SystemExit(5)


COMMANDS = (migrate, sample, retention)


def _print_status(as_json: bool) -> None:
    found = migration_status(load_settings().database_url)
    if as_json:
        print_json({"current": found.current, "newest": found.newest, "up_to_date": found.up_to_date})
    elif found.up_to_date:
        console.print(f"The schema is up to date ({found.current}).")
    else:
        console.print(f"The schema is at {found.current or 'nothing'}; the newest is {found.newest}: `migrate up`.")
