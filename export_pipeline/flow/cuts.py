"""The cuts of one dataset in one file count together: what people may open of a dataset is not more because it lies in
several sheets, or in several files of a package.
"""

from collections.abc import Sequence

from psycopg import sql

from export_pipeline.flow.plan import Plan, told_by_the_source, too_many
from export_pipeline.flow.source import Snapshot, access_settings


def cuts_of(plans: Sequence[Plan]) -> list[list[Plan]]:
    """The plans whose rows count together, those of a dataset each: one for each cut, in whichever formats for people
    it is. Of a dataset that is there once, none."""
    found: dict[str, dict[str, Plan]] = {}
    for plan in plans:
        if plan.row_limit is not None:
            dataset = plan.selection.dataset
            found.setdefault(dataset.declared_name, {}).setdefault(dataset.name, plan)
    return [list(cuts.values()) for cuts in found.values() if len(cuts) > 1]


def check_cuts(plans: Sequence[Plan], snapshot: Snapshot) -> None:
    """Raises Rejected where the cuts of a dataset have more rows together than a file for people may have. The plans
    fit the source, so none has more alone."""
    for cuts in cuts_of(plans):
        first = cuts[0]
        counts = [sql.SQL("(SELECT count(*) {})").format(plan.selection.rows()) for plan in cuts]
        with told_by_the_source(first):
            # Whoever asks reaches as far in each cut: it is one dataset.
            for setting in access_settings(first.selection.scope, first.selection.owner_id, snapshot.own_role):
                snapshot.connection.execute(setting)
            [[rows]] = snapshot.connection.execute(sql.SQL("SELECT {}").format(sql.SQL(" + ").join(counts))).fetchall()
        assert first.row_limit is not None
        if rows > first.row_limit:
            raise too_many(first, f"{names_of(cuts)} have {rows:,} rows together")


def names_of(cuts: Sequence[Plan]) -> str:
    """The cuts' names, for people."""
    *others, last = [plan.selection.dataset.told_name for plan in cuts]
    return f"{', '.join(others)} and {last}"
