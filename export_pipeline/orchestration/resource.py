"""The one resource: the engine that everything else uses, opened inside an op or a sensor's tick, never at load."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from export_pipeline.flow.engine import Engine
from export_pipeline.model.errors import Broken, Rejected
from export_pipeline.registry import RegistryError
from export_pipeline.services import open_services
from export_pipeline.settings import SettingsError


class ServicesResource:
    """Opens the engine. A plain object: a configurable resource would show its settings, secrets too, in the UI."""

    def __init__(self, opener: Callable[[], AbstractContextManager[Engine]] = open_services) -> None:
        self._opener = opener

    @contextmanager
    def open(self) -> Iterator[Engine]:
        """The engine, until the context ends. Raises Rejected where a setting is wrong, Broken where a part is."""
        try:
            opened = self._opener()
            engine = opened.__enter__()
        except SettingsError as error:
            raise Rejected(str(error)) from error
        except RegistryError as error:
            raise Broken(str(error)) from error
        try:
            yield engine
        finally:
            opened.__exit__(None, None, None)
