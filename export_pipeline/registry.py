"""Finds the one declared part of every module in a folder, strictly: the file's name is the part's key.

A module whose name starts with an underscore is no part. A missing, misnamed or second declaration is an error at
start, not at the first request.
"""

import importlib
import importlib.util
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")


class RegistryError(Exception):
    """A part's file does not declare what it must."""


def load_parts(package: str, attribute: str, kind: type[T]) -> dict[str, T]:
    """All parts of a package: each module's `attribute`, of the given kind, by name. Raises RegistryError."""
    folder = importlib.import_module(package)
    names = sorted(module.name for module in pkgutil.iter_modules(folder.__path__) if not module.name.startswith("_"))
    return {name: _part(importlib.import_module(f"{package}.{name}"), name, attribute, kind) for name in names}


def load_folder(path: Path, attribute: str, kind: type[T], taken: dict[str, T]) -> dict[str, T]:
    """The parts in a folder of the user's, which may not take a name that is taken. Raises RegistryError."""
    if not path.is_dir():
        raise RegistryError(
            f"{path} is not a folder; set it to one that holds a Python file for each part, or unset it"
        )
    parts: dict[str, T] = {}
    for file in sorted(path.glob("*.py")):
        if file.stem.startswith("_"):
            continue
        if file.stem in taken:
            raise RegistryError(f"{file}: the name {file.stem!r} is taken by a part of the package; rename the file")
        spec = importlib.util.spec_from_file_location(f"export_pipeline_user.{file.stem}", file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise RegistryError(f"{file} cannot be loaded: {type(error).__name__}: {error}") from error
        parts[file.stem] = _part(module, file.stem, attribute, kind)
    return parts


def _part(module: ModuleType, name: str, attribute: str, kind: type[Any]) -> Any:
    part = getattr(module, attribute, None)
    where = module.__file__ or module.__name__
    if not isinstance(part, kind):
        raise RegistryError(f"{where} must declare {attribute}, one {kind.__name__}; found {type(part).__name__}")
    if part.name != name:
        raise RegistryError(f"{where}: {attribute} is named {part.name!r}; a part is named as its file, {name!r}")
    return part
