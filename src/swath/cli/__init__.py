"""The command line: thin, every command calls the Python API.

Nothing heavy is imported before a command runs, so that ``swath --help`` answers at once.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line on ``sys.argv`` and leave with its exit status."""
    from swath.cli.entry import run

    sys.exit(run(sys.argv[1:]))
