"""Several datasets in one file: which, under which names, in which formats; and how a request spells them."""

import re
from dataclasses import dataclass

#: What stands before a dataset's formats: its name, perhaps another one for the package.
_NAMED = re.compile(r"(?P<dataset>.*?)(?:\s+as\s+(?P<alias>.*))?", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Member:
    """One dataset of a package, in one or several formats; none: in whichever was asked for. `alias` is what the
    package calls it where it holds the dataset more than once."""

    dataset: str
    formats: tuple[str, ...] = ()
    alias: str = ""

    @property
    def name(self) -> str:
        """What its files, filters and columns are called after."""
        return self.alias or self.dataset


@dataclass(frozen=True)
class Package:
    """A ready-made choice of datasets, which is asked for by its name instead of theirs."""

    name: str
    title: str
    description: str
    members: tuple[Member, ...]


def members_in(text: str) -> tuple[Member, ...]:
    """What a request names as its dataset, as in `contacts,calls as done:csv+json`. Nothing is checked: there may be no
    such dataset, and a ready-made package is a member like any other name."""
    members = []
    for part in text.split(","):
        name, _, formats = part.strip().partition(":")
        found = _NAMED.fullmatch(name.strip())
        assert found is not None
        members.append(
            Member(found["dataset"], tuple(item for item in formats.split("+") if item), found["alias"] or "")
        )
    return tuple(members)
