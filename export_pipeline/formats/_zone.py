"""The option that several formats have: the time zone that timestamps are shown in."""

import zoneinfo
from typing import Annotated

from pydantic import AfterValidator


def known_zone(name: str) -> str:
    """The name of a time zone, as it is. Raises ValueError where there is none of that name."""
    try:
        zoneinfo.ZoneInfo(name)
    except (OSError, ValueError, zoneinfo.ZoneInfoNotFoundError):
        raise ValueError("is not the IANA name of a time zone; write it like Europe/Lisbon or UTC") from None
    return name


Zone = Annotated[str, AfterValidator(known_zone)]
