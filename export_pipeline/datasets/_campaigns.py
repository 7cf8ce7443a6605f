"""What the datasets about campaigns have in common: whose a campaign is, and how some are chosen."""

from export_pipeline.model.dataset import UUID, Filter, Owner

OWNER = Owner("campaign_id", "SELECT owner_id::text FROM campaigns WHERE id = {value}", "campaign", "campaign.owner_id")


def campaign_filter(column: str, *, required: bool = False) -> Filter:
    """The filter that chooses campaigns by the id in `column`."""
    return Filter(
        "campaign_id", UUID, f"{column} IN ({{values}})", "Only of these campaigns.", required=required, many=True
    )
