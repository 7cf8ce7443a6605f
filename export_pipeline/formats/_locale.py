"""How people of a language write numbers, dates and moments, for files that people open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import polars as pl

Locale = Literal["en", "en-GB", "en-US", "de", "es", "fr", "it", "pt"]

_MINUTE = 60_000_000
#: The first and the last microsecond of the years 1 to 9999, since 1970.
_CALENDAR = (-62_135_596_800_000_000, 253_402_300_799_999_999)
_TIME = "%H:%M:%S.%f"


@dataclass(frozen=True)
class Customs:
    """What is customary: whether decimals have a comma, and a date's style for Polars and DuckDB (`date`) and for
    Excel."""

    decimal_comma: bool
    date: str
    excel_date: str


LOCALES: Mapping[Locale, Customs] = {
    # As reports have it: the two kinds of English disagree about what comes first.
    "en": Customs(False, "%Y-%m-%d", "yyyy-mm-dd"),
    "en-GB": Customs(False, "%d/%m/%Y", r"dd\/mm\/yyyy"),
    "en-US": Customs(False, "%m/%d/%Y", r"mm\/dd\/yyyy"),
    "de": Customs(True, "%d.%m.%Y", r"dd\.mm\.yyyy"),
    "es": Customs(True, "%d/%m/%Y", r"dd\/mm\/yyyy"),
    "fr": Customs(True, "%d/%m/%Y", r"dd\/mm\/yyyy"),
    "it": Customs(True, "%d/%m/%Y", r"dd\/mm\/yyyy"),
    "pt": Customs(True, "%d/%m/%Y", r"dd\/mm\/yyyy"),
}


def date_format(locale: Locale | None) -> str:
    """How dates are written, in the letters of strftime."""
    return LOCALES[locale].date if locale else "%Y-%m-%d"


def moment_format(locale: Locale | None) -> str:
    """How moments are written with their offset from UTC, in DuckDB's letters: `2010-11-17T15:03:22.000000+01:00`, or
    with a locale `17.11.2010 15:03:22.000000 +01:00`."""
    return f"{date_format(locale)} {_TIME} %z" if locale else f"%Y-%m-%dT{_TIME}%z"


def moments(values: pl.Expr, zone: str, locale: Locale | None) -> pl.Expr:
    """The moments as the wall clock of the zone with its offset, which tells apart the two that a clock set back shows
    alike. In UTC are those whose offset has seconds, as before standard time, or whose year there is 0 or 10000."""
    import polars as pl

    written = moment_format(locale).replace(".%f", "%.6f").replace("%z", "%:z")
    local = values.dt.convert_time_zone(zone)
    clock = local.dt.replace_time_zone(None).to_physical()
    plain = ((clock - values.to_physical()) % _MINUTE == 0) & clock.is_between(*_CALENDAR)
    return pl.when(plain).then(local.dt.strftime(written)).otherwise(values.dt.strftime(written))
