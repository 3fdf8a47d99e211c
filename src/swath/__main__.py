"""``python -m swath``: the command line."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line; its modules are imported only now."""
    from swath.cli import main as run

    run()


if __name__ == "__main__":
    main()
