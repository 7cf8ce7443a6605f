"""Bytes that pass through a named pipe, for a library that wants a path: no disk, and nothing that stays."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from export_pipeline.ahead import ahead
from export_pipeline.staging import staging_folder

#: What a pipe may hold, where the system lets one ask (bytes).
_PIPE_BYTES = 1 << 20
_LOOK_EVERY_SECONDS = 0.02


@contextmanager
def piped(chunks: Iterator[bytes | memoryview]) -> Iterator[Path]:
    """A path that the chunks can be read from, once, from the first to the last. Whoever reads has closed it, or will
    never open it, when the context ends; which then raises what `chunks` has raised."""
    with staging_folder() as folder:
        path = folder / "pipe"
        os.mkfifo(path, 0o600)
        feeder = _Feeder(path, chunks)
        feeder.start()
        try:
            yield path
        except Exception:
            feeder.end()
            if feeder.raised is not None:
                raise feeder.raised from None
            raise
        finally:
            feeder.end()
        if feeder.raised is not None:
            raise feeder.raised


class _Feeder(Thread):
    def __init__(self, path: Path, chunks: Iterator[bytes | memoryview]) -> None:
        super().__init__(name="pipe", daemon=True)
        self.raised: BaseException | None = None
        self._path = path
        self._chunks = chunks
        self._ended = Event()

    def run(self) -> None:
        try:
            self._feed()
        except BaseException as error:
            self.raised = error
        # Somebody who opens it once more reads nothing: else they would wait for ever.
        while not self._ended.wait(_LOOK_EVERY_SECONDS):
            with contextlib.suppress(OSError):
                os.close(os.open(self._path, os.O_WRONLY | os.O_NONBLOCK))

    def end(self) -> None:
        """To be called when whoever reads has closed it, or will never open it."""
        self._ended.set()
        while self.is_alive():
            # It may wait for a reader, who does not come any more.
            os.close(os.open(self._path, os.O_RDONLY | os.O_NONBLOCK))
            self.join(_LOOK_EVERY_SECONDS)

    def _feed(self) -> None:
        with self._path.open("wb", buffering=0) as pipe:
            with contextlib.suppress(AttributeError, OSError):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            for chunk in ahead(self._chunks):
                left = memoryview(chunk)
                try:
                    while left:
                        left = left[pipe.write(left) :]
                except BrokenPipeError:
                    return  # who reads has seen enough
