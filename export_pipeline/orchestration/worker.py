"""Which process a run's worker is: recognised safely by any other process on its machine. Nothing of Dagster here."""

import os
import signal
from dataclasses import dataclass
from socket import gethostname

from export_pipeline.embedded.processes import Process, start_of


@dataclass(frozen=True)
class Worker:
    """A process and the machine that it is on; `str()` of it fits into a run's tag."""

    process: Process
    host: str

    @classmethod
    def here(cls, pid: int) -> "Worker":
        """The process with that number on this machine, now. It may have ended already."""
        return cls(Process(pid, start_of(pid)), gethostname())

    @classmethod
    def parse(cls, text: str) -> "Worker | None":
        """The worker that `str()` of one named, or None where the text names none."""
        pid, _, rest = text.partition("|")
        started, _, host = rest.partition("|")
        return cls(Process(int(pid), started), host) if pid.isdigit() else None

    def __str__(self) -> str:
        return f"{self.process.pid}|{self.process.started}|{self.host}"

    @property
    def on_this_machine(self) -> bool:
        """Whether it can be looked at from here."""
        return self.host == gethostname()

    @property
    def alive(self) -> bool:
        """Whether it runs, on this machine."""
        return self.on_this_machine and bool(self.process.started) and self.process.alive

    def signal(self, number: signal.Signals) -> bool:
        """Sends it a signal; tells whether it was there to get it."""
        if not self.alive:
            return False
        try:
            os.kill(self.process.pid, number)
        except ProcessLookupError:
            return False
        return True
