"""`auftraege`: what somebody writes for tables of their own, one row for each order."""

from export_pipeline.model.access import Policy, Role, Scope, Sensitivity
from export_pipeline.model.dataset import (
    DATE,
    FLOAT,
    INTEGER,
    JSON,
    TEXT,
    TIMESTAMP,
    Column,
    Dataset,
    Filter,
    Owner,
    Subject,
    decimal,
)

_ORDERED = """(a."Bestellt am" AT TIME ZONE 'Europe/Vienna')"""

DATASET = Dataset(
    name="auftraege",
    title="Aufträge",
    description="One row per order.",
    source='"Außendienst"."Aufträge mit Kunden" AS a',
    order_by='a."Mandant", a."Auftrags-Nr"',
    columns=(
        Column("Mandant", INTEGER, 'a."Mandant"', "The company."),
        Column("Auftrag", INTEGER, 'a."Auftrags-Nr"', "The order's number within the company."),
        Column("Status", TEXT, 'a."Status"', "How far it is.", example="offen"),
        Column("Summe", decimal(12, 4), 'a."Summe"', "What it comes to, in euros."),
        Column("Rabatt", FLOAT, 'a."Rabatt"', "The share that is let off."),
        Column("Schlagworte", JSON, 'to_jsonb(a."Schlagworte")', "Its tags."),
        Column("Details", JSON, 'a."Details"', "What else was noted.", free_text=True),
        Column("Bestellt", TIMESTAMP, _ORDERED, "When it was ordered."),
        Column("Liefertag", DATE, 'a."Liefertag"', "When it is to be there."),
        Column("Käufer", TEXT, 'a."Käufer"', "Who ordered.", Sensitivity.PERSONAL),
        Column("Straße", TEXT, 'a."Straße"', "Where to.", Sensitivity.PERSONAL, mask=Policy.DROP),
        Column("Telefon", TEXT, 'a."Telefon"', "Their telephone.", Sensitivity.PERSONAL),
    ),
    filters=(
        Filter("status", TEXT, 'a."Status" IN ({values})', "Only in these states.", many=True),
        Filter("schlagwort", TEXT, 'a."Schlagworte" && ARRAY[{values}]::text[]', "With any of these tags.", many=True),
    ),
    date_column=_ORDERED,
    date_label="when it was ordered",
    owner=Owner("", "", "Auftrag", 'a."Betreuer"'),
    access={Role.CAMPAIGN_MANAGER: Scope.OWN, Role.ANALYST: Scope.ALL, Role.ADMIN: Scope.ALL},
    subjects={"Telefon": Subject.PHONE},
    status="Status",
)
