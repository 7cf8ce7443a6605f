"""What the datasets with a cursor have in common: where the reference tables write down which rows were deleted."""

from collections.abc import Mapping

from export_pipeline.model.dataset import Deletions

OF_CAMPAIGN = {"campaign_id": "deletion.campaign_id IN ({values})"}


def deleted_from(table: str, *, column: str = "id", filters: Mapping[str, str] | None = None) -> Deletions:
    """Deletions of a table's rows, whose id the file holds in `column`. A row that is there again is not deleted."""
    return Deletions(
        table="deletions",
        where=f"deletion.table_name = '{table}' AND NOT EXISTS (SELECT FROM {table} AS back WHERE back.id = row_id)",
        column=column,
        key="deletion.row_id",
        at="deletion.deleted_at",
        owner="deletion.owner_id",
        filters=filters or {},
    )
