"""One page that shows a run: read from its folder alone, loading nothing from anywhere."""

from __future__ import annotations

from pathlib import Path

from swath.core.files import expanded, write_text
from swath.report.account import costs, provenance, split
from swath.report.html import Html, page
from swath.report.record import RunRecord, read_run
from swath.report.results import accuracy, header, maps, title
from swath.report.searching import network, search, training
from swath.report.tiles import tiles

__all__ = ["render", "write_report"]


def pictures(run: RunRecord) -> Html:
    """Return what the network made of the images."""
    return tiles(run) if run.of_tiles else maps(run)


def write_report(run_folder: str | Path, path: str | Path | None = None) -> Path:
    """Write the report of a run and return where it is.

    Parameters
    ----------
    run_folder : a run folder, finished or not; what it lacks is said in a sentence.
    path : of the page; ``report.html`` in the run folder by default.

    Raises
    ------
    RunError : there is no such run, one of its files is broken, or the page cannot be written.
    """
    target = expanded(Path(run_folder) / "report.html" if path is None else path)
    write_text(target, render(read_run(run_folder)))
    return target


_SECTIONS = (pictures, accuracy, network, search, training, costs, split, provenance)


def render(run: RunRecord) -> str:
    """Return the page of a run as HTML."""
    return page(title(run), header(run), *(part(run) for part in _SECTIONS))
