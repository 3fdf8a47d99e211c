"""Files that commands are to write, looked at before anything is computed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from swath.core.errors import RecipeError
from swath.core.files import check_writable

__all__ = ["check_outputs"]


def check_outputs(
    outputs: Sequence[Path | None], inputs: Sequence[str | os.PathLike[str] | None]
) -> None:
    """Look whether files can be written, and are none of those that are read.

    Parameters
    ----------
    outputs, inputs : as given; None is passed over, and so are inputs that are no files.

    Raises
    ------
    RecipeError : an output is an input, whatever it is called.
    RunError : an output cannot be written.
    """
    read = [one for one in inputs if one is not None and os.path.exists(one)]
    for path in outputs:
        if path is None:
            continue
        check_writable(path)
        if path.exists() and any(path.samefile(one) for one in read):
            raise RecipeError(
                f"{path} is read by this command and would be replaced; write to another file"
            )
