"""Several datasets in one file: which, under which names, in which formats."""

from dataclasses import dataclass


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
