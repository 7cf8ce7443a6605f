"""`comprehensive`: the leads to work with and to open, and what they add up to."""

from export_pipeline.model.package import Member, Package

PACKAGE = Package(
    name="comprehensive",
    title="Leads, whole",
    description="All leads as CSV and as an Excel workbook, with the analysis of leads by day, place and source as "
    "JSON, out of one snapshot.",
    members=(Member("leads", ("csv", "xlsx")), Member("lead_analytics", ("json",))),
)
