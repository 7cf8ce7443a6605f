"""Several datasets in one file: which, in which formats."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """One dataset of a package, in one or several formats; none: in whichever was asked for."""

    dataset: str
    formats: tuple[str, ...] = ()


@dataclass(frozen=True)
class Package:
    """A ready-made choice of datasets, which is asked for by its name instead of theirs."""

    name: str
    title: str
    description: str
    members: tuple[Member, ...]
