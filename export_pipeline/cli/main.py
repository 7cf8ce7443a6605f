"""The command `export-pipeline`: its groups, and how errors become sentences and exit codes.

Exit codes: 0 done, 2 invalid request, 3 forbidden, 4 not found, 5 failed, 6 cancelled.
"""

import signal
import sys

import click

from export_pipeline import __version__
from export_pipeline.cli import catalogue, exports, local, operations
from export_pipeline.cli.output import error_document, messages, print_json
from export_pipeline.model.errors import Broken, ExportError, Rejected
from export_pipeline.registry import RegistryError
from export_pipeline.settings import SettingsError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
def commands() -> None:
    """Exports of campaign data from PostgreSQL as files that open right: authorized, audited, verified, on time."""


for command in (*exports.COMMANDS, *catalogue.COMMANDS, *operations.COMMANDS, *local.COMMANDS):
    commands.add_command(command)


def main() -> None:
    """Runs the command line and exits."""
    _interrupt_on_termination()
    try:
        commands.main(standalone_mode=False)
    except click.exceptions.Abort:
        messages.print("stopped")
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (SettingsError, RegistryError) as error:
        sys.exit(_report(Rejected(str(error)) if isinstance(error, SettingsError) else Broken(str(error))))
    except ExportError as error:
        sys.exit(_report(error))


def _report(error: ExportError) -> int:
    if "--json" in sys.argv:
        print_json(error_document(error))
    else:
        messages.print(f"[red]{error.kind.value}[/red]: ", end="")
        messages.print(str(error), markup=False)
    return error.exit_code


def _interrupt_on_termination() -> None:
    """A polite `kill` ends everything as Ctrl-C does; and Ctrl-C works even where a shell's background ignores it."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)
    signal.signal(signal.SIGINT, signal.default_int_handler)
