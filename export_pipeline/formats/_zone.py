"""The option that several formats have: the time zone that timestamps are shown in."""

import zoneinfo
from typing import Annotated

from pydantic import AfterValidator


def known_zone(name: str) -> str:
    """The name of a time zone, as it is. Raises ValueError where there is none of that name, or where only one of the
    two that compute with zones knows it: Python also takes what lies beside the zones, such as `posix/Europe/Vienna`
    or `localtime`, and Polars does not."""
    # Here, as it takes a while: most exports name no zone.
    import polars as pl

    try:
        zoneinfo.ZoneInfo(name)
        pl.Series([0]).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(name)
    except (OSError, ValueError, zoneinfo.ZoneInfoNotFoundError, pl.exceptions.ComputeError):
        raise ValueError("is not the IANA name of a time zone; write it like Europe/Lisbon or UTC") from None
    return name


Zone = Annotated[str, AfterValidator(known_zone)]
