"""From arguments to an exit status: 0 done, 1 a defect of swath, 2 a user's mistake, 130 stopped.

A user's mistake is one sentence on standard error; a traceback is shown with ``--debug`` alone.
"""

from __future__ import annotations

import errno
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer

from swath.cli.output import Stopped, in_options
from swath.core.errors import SwathError, nearest

__all__ = ["run"]

# What typer raises for arguments it cannot read; the name of its home differs between versions.
_UsageError: Any = typer.BadParameter.__base__


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status; messages go to standard error.

    ``--debug`` may stand anywhere among the arguments.
    """
    from swath.cli.app import app

    debug = "--debug" in arguments
    given = [argument for argument in arguments if argument != "--debug"]
    try:
        status = app(args=given, prog_name="swath", standalone_mode=False, obj=given)
        # Typer itself turns an interrupt into this status.
        return _stopped("stopped") if status == 130 else int(status or 0)
    except (Stopped, KeyboardInterrupt) as stop:
        return _stopped(str(stop) or "stopped")
    except SwathError as error:
        return _failed(_unset(given) or in_options(str(error)), 2, debug)
    except _UsageError as error:
        return _failed(_unset(given) or _usage(error), 2, debug)
    except MemoryError:
        return _failed("the memory is full; use smaller windows, batches or fewer bands", 2, debug)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _failed("the disk is full; free space and run the command again", 2, debug)
        return _failed(
            f"this is a defect of swath, not of your input ({type(error).__name__}: {error}); "
            "--debug shows where, please report it",
            1,
            debug,
        )


def _failed(message: str, status: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    sentence = " ".join(message.split())
    if sentence:
        print(f"error: {sentence}", file=sys.stderr)
    return status


def _stopped(message: str) -> int:
    print(f"\n{message}", file=sys.stderr)
    return 130


def _unset(given: Sequence[str]) -> str | None:
    """Return what to say where one ``--set`` was to set several things: the others were taken for
    something else, and what that was called wrong for would not help.
    """
    for option, first, second in zip(given, given[1:], given[2:], strict=False):
        if option == "--set" and "=" in second and not {first[:1], second[:1]} & {"-", ""}:
            return f"{second} has no --set of its own; write --set {first} --set {second}"
    return None


def _usage(error: Any) -> str:
    """Return one sentence for arguments that cannot be read, with the nearest known word."""
    message = str(error.format_message()).strip()
    context = getattr(error, "ctx", None)
    if not message or context is None:
        return message
    see = f"; see '{context.command_path} --help'"
    option = getattr(error, "option_name", None)
    if option and type(error).__name__ == "NoSuchOption":
        known = [name for one in context.command.params for name in one.opts]
        return f"there is no option {option}{nearest(option, known)}{see}"
    command = re.match(r"No such command '(.*?)'", message)
    if command:
        known = context.command.list_commands(context)
        return f"there is no command '{command[1]}'{nearest(command[1], known)}{see}"
    return message[0].lower() + message[1:].rstrip(".") + see
