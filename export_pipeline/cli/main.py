"""The command `export-pipeline`: its groups, and how errors become sentences and exit codes.

Exit codes: 0 done, 2 invalid request, 3 forbidden, 4 not found, 5 failed, 6 cancelled.
"""

import atexit
import contextlib
import gc
import os
import signal
import sys
import threading
import time
from typing import NoReturn

import click

from export_pipeline import __version__
from export_pipeline.cli import (
    alerts,
    before,
    catalogue,
    exports,
    history,
    links,
    local,
    operations,
    subjects,
    templates,
)
from export_pipeline.cli.output import error_document, messages, print_json
from export_pipeline.model.errors import Broken, ExportError, Rejected
from export_pipeline.registry import RegistryError
from export_pipeline.settings import SettingsError

#: Imports make hundreds of thousands of objects that stay. Collecting among them at every 700 new ones, as is usual,
#: takes half a second of an export, while PostgreSQL needs the cores.
_COLLECT_AFTER = (100_000, 50, 100)
#: How long a worker that was given up may take to end (seconds).
_GRACE_SECONDS = 3.0


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
def commands() -> None:
    """Exports of campaign data from PostgreSQL as files that open right: authorized, audited, verified, on time."""


for command in (
    *exports.COMMANDS,
    *before.COMMANDS,
    *history.COMMANDS,
    *links.COMMANDS,
    *subjects.COMMANDS,
    *templates.COMMANDS,
    *catalogue.COMMANDS,
    *operations.COMMANDS,
    *alerts.COMMANDS,
    *local.COMMANDS,
):
    commands.add_command(command)


def main() -> None:
    """Runs the command line and exits."""
    gc.set_threshold(*_COLLECT_AFTER)
    _interrupt_on_termination()
    _leave(run())


def run() -> int:
    """Runs the command. Returns the exit code."""
    try:
        return int(commands.main(standalone_mode=False) or 0)
    except SystemExit as ended:
        return int(ended.code or 0)
    except (click.exceptions.Abort, KeyboardInterrupt):
        messages.print("stopped")
        return 130
    except click.ClickException as error:
        return _report_usage(error)
    except (SettingsError, RegistryError) as error:
        return _report(Rejected(str(error)) if isinstance(error, SettingsError) else Broken(str(error)))
    except ExportError as error:
        return _report(error)


def _leave(code: int) -> NoReturn:
    """Exits, without taking apart what Python has imported, which takes 0.3 s.

    A worker that was given up gets a moment to end; one that is still deep in a library then would have Python abort
    when it ends around it.
    """
    until = time.monotonic() + _GRACE_SECONDS
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and (code or not thread.daemon):
            with contextlib.suppress(AssertionError):  # a library's own thread, which Python cannot wait for
                thread.join(max(0.0, until - time.monotonic()))
    atexit._run_exitfuncs()  # temporary files go
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # whoever read it has gone
            stream.flush()
    os._exit(code)


def _report(error: ExportError) -> int:
    if "--json" in sys.argv:
        print_json(error_document(error))
    else:
        messages.print(f"[red]{error.kind.value}[/red]: ", end="")
        messages.print(str(error), markup=False)
    return error.exit_code


def _report_usage(error: click.ClickException) -> int:
    if "--json" in sys.argv:
        return _report(Rejected(error.format_message()))
    error.show()
    return error.exit_code


def _interrupt_on_termination() -> None:
    """A polite `kill` ends everything as Ctrl-C does; and Ctrl-C works even where a shell's background ignores it."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)
    signal.signal(signal.SIGINT, signal.default_int_handler)
