"""TSV: like CSV, with a tab between two fields."""

from export_pipeline.formats._delimited import DelimitedOptions, write
from export_pipeline.formats._delimited_reader import READER
from export_pipeline.model.format import Format

FORMAT = Format(
    name="tsv",
    title="TSV",
    description="Text with one line per row and a tab between two fields, in UTF-8; a text with a tab is in quotes.",
    extension="tsv",
    media_type="text/tab-separated-values; charset=utf-8",
    options=DelimitedOptions,
    write=write,
    for_people=lambda options: options.for_spreadsheets,
    reader=READER,
)
