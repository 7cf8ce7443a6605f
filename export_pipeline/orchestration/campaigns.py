"""The sensor that exports a campaign to its owner when it turns completed; not the past.

The cursor holds which campaigns are completed, as short digests; the first tick only takes note. A campaign is
remembered once its request is filed (or refused: asking again would not help), so a restart neither forgets nor repeats
one; only a crash between filing and the end of the tick could file one twice.
"""

import base64
import hashlib
import json
from dataclasses import dataclass

import dagster as dg

from export_pipeline.flow.engine import Engine
from export_pipeline.flow.request import file_request
from export_pipeline.flow.source import translated_errors
from export_pipeline.model.errors import ExportError, Rejected
from export_pipeline.model.job import ExportRequest
from export_pipeline.orchestration.resource import ServicesResource

_DATASET = "campaign_results"
_DIGEST_BYTES = 9
_LOOK_SECONDS = 5


@dataclass(frozen=True)
class Completed:
    """A campaign that is completed, and the e-mail address of its owner (empty: nobody's)."""

    id: str
    owner: str

    @property
    def digest(self) -> str:
        """Short, and the same whatever kind of id it is."""
        return base64.b85encode(hashlib.sha256(self.id.encode()).digest()[:_DIGEST_BYTES]).decode()


@dg.sensor(
    name="campaign_completed_sensor",
    minimum_interval_seconds=_LOOK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Files an export of a campaign's results in its owner's name when the campaign turns completed.",
)
def campaign_completed_sensor(
    context: dg.SensorEvaluationContext, services: dg.ResourceParam[ServicesResource]
) -> dg.SkipReason:
    """Files the requests; `export_requests_sensor` starts them."""
    try:
        with services.open() as engine:
            completed = completed_campaigns(engine)
            if context.cursor is None:
                context.update_cursor(_cursor(campaign.digest for campaign in completed))
                return dg.SkipReason(f"{len(completed)} campaigns are completed already; from now on")
            known = set(json.loads(context.cursor))
            new = [campaign for campaign in completed if campaign.digest not in known]
            told = [file_for_owner(engine, campaign) for campaign in new]
    except ExportError as error:
        return dg.SkipReason(f"not looked: {error}")
    later = {campaign.digest for campaign, sentence in zip(new, told, strict=True) if sentence is None}
    context.update_cursor(_cursor(campaign.digest for campaign in completed if campaign.digest not in later))
    return dg.SkipReason("; ".join(sentence for sentence in told if sentence) or "no campaign turned completed")


def completed_campaigns(engine: Engine) -> list[Completed]:
    """All campaigns that are completed now. Raises Transient, Broken."""
    with engine.source.connect() as connection, translated_errors():
        found = connection.execute(
            """
            SELECT campaign.id::text, coalesce(owner.email, '')
            FROM campaigns AS campaign LEFT JOIN users AS owner ON owner.id = campaign.owner_id
            WHERE campaign.status::text = 'completed' ORDER BY campaign.id
            """
        ).fetchall()
    return [Completed(*row) for row in found]


def file_for_owner(engine: Engine, campaign: Completed) -> str | None:
    """Files the export in the owner's name. Returns what came of it, or None where it is to be tried again."""
    request = ExportRequest(
        dataset=_DATASET,
        requested_by=campaign.owner,
        filters={"campaign_id": campaign.id},
        format="csv",
        reason="campaign completed",
    )
    try:
        return f"campaign {campaign.id}: filed {file_request(engine, request).id}"
    except Rejected as error:
        return f"campaign {campaign.id}: refused: {error}"
    except ExportError:
        return None


def _cursor(digests: object) -> str:
    return json.dumps(sorted(digests))  # type: ignore[call-overload]
