"""The reference for XLSX: XlsxWriter in constant-memory mode, rows streamed from PostgreSQL, the same look.

Reads a JSON object from standard input: `database_url`, `query`, `path`.
"""

import json
import sys
from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import xlsxwriter


def main() -> None:
    """Writes the workbook: typed cells, bold frozen header, autofilter, column widths."""
    task = json.load(sys.stdin)
    book = xlsxwriter.Workbook(task["path"], {"constant_memory": True, "strings_to_formulas": False})
    sheet = book.add_worksheet()
    bold = book.add_format({"bold": True})
    moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
    rows = 0
    with psycopg.connect(task["database_url"]) as connection, connection.cursor(name="rows", binary=True) as cursor:
        cursor.itersize = 10_000
        cursor.execute(task["query"])
        for line, row in enumerate(cursor, start=1):
            if line == 1:
                names = [column.name for column in cursor.description or ()]
                sheet.set_column(0, len(names) - 1, 20)
                sheet.freeze_panes(1, 0)
                sheet.write_row(0, 0, names, bold)
            rows = line
            for place, value in enumerate(row):
                if value is None:
                    continue
                if isinstance(value, str):
                    sheet.write_string(line, place, value)
                elif isinstance(value, datetime):
                    sheet.write_datetime(line, place, value.astimezone(UTC).replace(tzinfo=None), moment)
                elif isinstance(value, (int, float, Decimal)):
                    sheet.write_number(line, place, value)
        if rows:
            sheet.autofilter(0, 0, rows, len(names) - 1)
    book.close()
    print(rows)


if __name__ == "__main__":
    main()
