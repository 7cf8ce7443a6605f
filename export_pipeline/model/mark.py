"""How far somebody has looked who is to miss nothing and see nothing twice, though what happened earlier may be seen
later: its transaction took longer, or its clock is another.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

#: How far back the first look of all goes.
_FIRST = timedelta(days=1)
#: How much later than another something may be seen that came before it.
_OVERLAP = timedelta(minutes=5)


@dataclass(frozen=True)
class Mark:
    """Everything before `since` has been seen, and of what came after it the `known` keys, with their moments."""

    since: datetime
    known: Mapping[str, datetime] = field(default_factory=dict)

    @classmethod
    def first(cls, now: datetime) -> Self:
        """Of somebody who never looked before."""
        return cls(now - _FIRST)

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Self:
        """As `document` has it."""
        known = {key: datetime.fromisoformat(at) for key, at in document["known"].items()}
        return cls(datetime.fromisoformat(document["since"]), known)

    def moved(self, seen: Mapping[str, datetime], until: datetime) -> Self:
        """After `seen`, which is all that there was until then."""
        since = max(self.since, until - _OVERLAP)
        known = {key: at for key, at in {**self.known, **seen}.items() if at >= since}
        return type(self)(since, known)

    @property
    def document(self) -> dict[str, Any]:
        """For a cursor, as JSON holds it."""
        known = {key: at.isoformat() for key, at in self.known.items()}
        return {"since": self.since.isoformat(), "known": known}
