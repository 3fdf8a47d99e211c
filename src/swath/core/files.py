"""Files appear whole or not at all: written beside their place, then renamed into it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swath.core.errors import RunError

__all__ = [
    "append_json_line",
    "atomic_path",
    "check_writable",
    "expanded",
    "read_json",
    "read_json_lines",
    "write_json",
    "write_text",
]


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with the home folder for ``~``; one that is of no known user stays."""
    return Path(os.path.expanduser(path))


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path in the same folder (same suffix); move it to ``path`` on success.

    On any failure the temporary file is removed and an earlier ``path`` stays as it was.

    Raises
    ------
    RunError : the folder cannot be written or the disk is full.
    """
    target = expanded(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent
        )
        os.close(handle)
    except OSError as error:
        raise _explain(error, target) from error
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except OSError as error:
        raise _explain(error, target) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Look whether a file or folder could be written at ``path``, before long work; write nothing.

    Raises
    ------
    RunError : something else is in the way, or the folder above may not be written.
    """
    above = next(place for place in expanded(path).absolute().parents if place.exists())
    if not above.is_dir():
        raise RunError(f"cannot write {path}: {above} is a file; choose another folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise RunError(f"cannot write {path}: {above} may not be written; choose another folder")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], data: Any) -> None:
    """Write indented JSON atomically; NaN and infinities are refused, as JSON has none."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file; raise :class:`RunError` naming it where it is missing or broken."""
    try:
        return json.loads(expanded(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RunError(f"{path} is no JSON file: it holds no text; give another file") from error
    except json.JSONDecodeError as error:
        raise RunError(f"{path} is not valid JSON ({error}); was it edited or cut off?") from error


def _explain(error: OSError, target: Path) -> RunError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(f"the disk is full: {target} was not written; free space and run again")
    return RunError(f"cannot write {target}: {error.strerror or error}; choose another folder")


def append_json_line(path: str | os.PathLike[str], data: Any) -> None:
    """Append one JSON object as a line; a crash can at most leave the last line incomplete."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(data, allow_nan=False) + "\n")
    except OSError as error:
        raise _explain(error, Path(path)) from error


def read_json_lines(path: str | os.PathLike[str]) -> list[Any]:
    """Read complete lines of a JSON-lines file; a cut-off last line is left out; [] if no file."""
    if not Path(path).exists():
        return []
    lines = Path(path).read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines if line]
