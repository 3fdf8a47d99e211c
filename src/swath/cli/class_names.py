"""Names of classes as people write them: ``1=water, 2=bare soil``, or a file of such lines."""

from __future__ import annotations

import re

from swath.core.errors import DataError
from swath.core.files import expanded

__all__ = ["read_class_names"]

_ENTRY = re.compile(r"\s*(-?\d+)\s*[=:,;\t]\s*(.*?)\s*")


def read_class_names(given: str) -> dict[int, str]:
    """Return names by label value.

    Parameters
    ----------
    given : ``VALUE=NAME`` with commas between, or a text file with such an entry in each line, in
        which a comma, a colon, a semicolon or a tab may stand for ``=``, as in a CSV file; lines
        that begin with no number (a heading, a comment) are passed over.

    Raises
    ------
    DataError : it cannot be read, holds no name, or names a value twice.
    """
    entries = _of_file(given) if "=" not in given else re.split(r",(?=\s*-?\d+\s*=)", given)
    names: dict[int, str] = {}
    for entry in entries:
        found = _ENTRY.fullmatch(entry)
        if found is None or not found[2]:
            raise DataError(
                f"the class name '{entry.strip()}' cannot be read; write a label value and its "
                "name, as in '1=water, 2=bare soil'"
            )
        value, name = int(found[1]), found[2].strip("\"'")
        if value in names:
            raise DataError(f"the label value {value} is named twice, {names[value]} and {name}")
        names[value] = name
    if not names:
        raise DataError(f"{given} holds no class names; write lines such as '1=water'")
    return names


def _of_file(path: str) -> list[str]:
    try:
        lines = expanded(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read class names from '{path}' ({error}); give a text file, or names such as "
            "'1=water, 2=bare soil'"
        ) from error
    return [line for line in lines if re.match(r"\s*-?\d", line)]
