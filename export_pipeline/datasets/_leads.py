"""What the datasets about leads have in common: the tables, whose a lead is, and the filters."""

from export_pipeline.model.dataset import BOOLEAN, TEXT, UUID, Filter, Owner, decimal

OWNER = Owner("", "", "lead", "lead.owner_id")
TABLES = ("leads", "locations", "categories", "lead_sources")

SOURCE = """
    leads AS lead
    JOIN lead_sources AS source ON source.id = lead.source_id
    LEFT JOIN locations AS location ON location.id = lead.location_id
    LEFT JOIN categories AS category ON category.id = lead.category_id
"""

# strpos knows no wildcards: whatever a keyword holds is meant literally.
_SAYS = """EXISTS (
    SELECT FROM unnest(ARRAY[{values}]::text[]) AS wanted (keyword)
    WHERE strpos(lower(concat_ws(E'\\n', lead.title, lead.description)), lower(wanted.keyword)) > 0
)"""
_PRICE = decimal(12, 2)

FILTERS = (
    Filter(
        "status",
        TEXT,
        "lead.status IN ({values})",
        "Only leads with one of these states: new, contacted, qualified, converted, rejected.",
        many=True,
        choices=("new", "contacted", "qualified", "converted", "rejected"),
    ),
    Filter("location_ids", UUID, "lead.location_id IN ({values})", "Only leads in these places, by id.", many=True),
    Filter("location_names", TEXT, "location.name IN ({values})", "Only leads in these places, by name.", many=True),
    Filter("categories", TEXT, "category.name IN ({values})", "Only leads of these categories, by name.", many=True),
    Filter("sources", TEXT, "source.name IN ({values})", "Only leads of these sources, by name.", many=True),
    Filter("min_price", _PRICE, "lead.price >= {value}", "Only leads with this price or a higher one."),
    Filter("max_price", _PRICE, "lead.price <= {value}", "Only leads with this price or a lower one."),
    Filter("has_email", BOOLEAN, "(lead.email IS NOT NULL) = {value}", "Only leads with an e-mail address, or none."),
    Filter("has_phone", BOOLEAN, "(lead.phone IS NOT NULL) = {value}", "Only leads with a phone number, or none."),
    Filter(
        "keywords",
        TEXT,
        _SAYS,
        "Only leads with any of these texts in their title or description, in any letter case.",
        many=True,
        free_text=True,
    ),
    Filter(
        "exclude_keywords",
        TEXT,
        f"NOT {_SAYS}",
        "Only leads with none of these texts there.",
        many=True,
        free_text=True,
    ),
)
