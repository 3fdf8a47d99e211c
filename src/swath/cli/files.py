"""Files that commands are to write, looked at before anything is computed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from swath.core.errors import RecipeError
from swath.core.files import check_writable, expanded

__all__ = ["check_outputs", "study_files"]


def check_outputs(
    outputs: Sequence[Path | None], inputs: Sequence[str | os.PathLike[str] | None]
) -> None:
    """Look whether files can be written, and are none of those that are read.

    Parameters
    ----------
    outputs, inputs : as given; None is passed over, and so are inputs that are no files.

    Raises
    ------
    RecipeError : an output is an input, whatever it is called, or two are one file.
    RunError : an output cannot be written.
    """
    given = [expanded(one) for one in inputs if one is not None]
    read = [one for one in given if one.exists()]
    written: set[Path] = set()
    for path in (expanded(one) for one in outputs if one is not None):
        check_writable(path)
        if path.resolve() in written:
            raise RecipeError(f"{path} was given for two things; give each a file of its own")
        written.add(path.resolve())
        if path.exists() and any(path.samefile(one) for one in read):
            raise RecipeError(
                f"{path} is read by this command and would be replaced; write to another file"
            )


def study_files(store: str) -> list[Path]:
    """Return the files on this machine that a study may be read from; none of a database."""
    from swath.study.backends import is_url, journal_path

    if is_url(store):
        return []
    folder = expanded(store)
    return [journal_path(folder), journal_path(folder / "search"), folder / "recipe.yaml"]
