"""`umsatz`: orders added up by company and state; each row tells whether all that is in it belongs to who asks."""

from export_pipeline.model.access import Role, Scope
from export_pipeline.model.dataset import INTEGER, TEXT, Column, Dataset, Owner, decimal

DATASET = Dataset(
    name="umsatz",
    title="Umsatz",
    description="One row per company and state.",
    source="""(
        SELECT
            a."Mandant", a."Status", bool_and({owned}) AS owned, count(*) AS "Aufträge", sum(a."Summe") AS "Summe"
        FROM "Außendienst"."Aufträge mit Kunden" AS a
        WHERE {where}
        GROUP BY 1, 2
    ) AS result""",
    order_by='result."Mandant", result."Status"',
    columns=(
        Column("Mandant", INTEGER, 'result."Mandant"', "The company."),
        Column("Status", TEXT, 'result."Status"', "How far they are."),
        Column("Anzahl", INTEGER, 'result."Aufträge"', "How many."),
        Column("Summe", decimal(16, 4), 'result."Summe"', "What they come to, in euros."),
    ),
    filters=(),
    owner=Owner("", "", "Auftrag", 'a."Betreuer"', witness="result.owned"),
    access={Role.CAMPAIGN_MANAGER: Scope.OWN, Role.ANALYST: Scope.ALL, Role.ADMIN: Scope.ALL},
)
