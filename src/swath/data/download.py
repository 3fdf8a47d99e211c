"""Downloads that resume where they were cut off and are checked before they count."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from swath.core.errors import DataError
from swath.core.files import expanded

__all__ = ["Progress", "fetch", "sha256_of"]

Progress = Callable[[int, int | None], None]
"""Called with the bytes there are and the bytes there will be (None where unknown)."""

CHUNK = 2**16
TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})


def fetch(
    url: str,
    target: str | os.PathLike[str],
    size: int | None = None,
    sha256: str | None = None,
    retries: int = 3,
    *,
    wait: float = 1.0,
    timeout: float = 30.0,
    progress: Progress | None = None,
) -> Path:
    """Download ``url`` to ``target`` and return it.

    A file that is there and passes the checks is not downloaded again.  The download grows in
    ``<target>.part``, which a later call continues, and is moved to ``target`` when complete.

    Parameters
    ----------
    url : http or https address.
    target : the file to write; its folder is made.
    size, sha256 : what the file must be, in bytes and hexadecimal digits, where known.
    retries : how often to try again after a failure that brought nothing new.
    wait : seconds before the first retry, doubled each time.
    timeout : seconds without an answer that count as a failure.
    progress : see :data:`Progress`.

    Raises
    ------
    DataError : the file could not be had; the message says which file to put where by hand.
    """
    path = expanded(target)
    if path.is_file() and _fault(path, size, sha256) is None:
        return path
    part = path.with_name(path.name + ".part")
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise DataError(f"'{url}' is no http or https address; give one, or copy it to {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot make the folder {path.parent}: {error.strerror}; choose another"
        ) from error
    failures, furthest = 0, _size(part)
    while True:
        try:
            _continue(url, part, size, timeout, progress)
            fault = _fault(part, size, sha256)
            if fault is None:
                with _written(path):
                    os.replace(part, path)
                return path
            part.unlink(missing_ok=True)
            furthest = 0
        except _Interrupted as error:
            fault = str(error)
            if _size(part) > furthest:
                furthest, failures = _size(part), -1
        failures += 1
        if failures > retries:
            raise _given_up(url, path, fault)
        time.sleep(wait * 2 ** max(0, failures - 1))


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Interrupted(Exception):
    """A failure that may pass: trying again makes sense."""


def _continue(
    url: str, part: Path, size: int | None, timeout: float, progress: Progress | None
) -> None:
    """Bring ``part`` to its full length, starting from what is there."""
    if size is not None and _size(part) > size:
        part.unlink()
    start = _size(part)
    if size is not None and start == size:
        return
    headers = {"User-Agent": "swath", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=timeout
        )
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and start:
                if _total(error.headers.get("Content-Range")) == start:
                    return
                part.unlink()
                raise _Interrupted("the server could not continue the download") from error
            reason = f"the server answered {error.code} {error.reason}"
            if error.code in TEMPORARY:
                raise _Interrupted(reason) from error
            raise _given_up(url, part.with_name(part.name.removesuffix(".part")), reason) from error
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(_reason(error)) from error
    with response:
        if response.headers.get_content_type() == "text/html" and not url.endswith((".html", "/")):
            raise _Interrupted("the server sent a web page instead of the file")
        length = response.headers.get("Content-Length")
        if response.status == 206:
            begin = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
            if begin is None or int(begin[1]) != start:
                part.unlink()
                raise _Interrupted("the server continued the download at the wrong place")
            total = _total(response.headers.get("Content-Range"))
        else:
            start = 0
            total = int(length) if length and length.isdigit() else None
        total = size if total is None else total
        _receive(response, part, start, total, progress)


def _receive(
    response: http.client.HTTPResponse,
    part: Path,
    start: int,
    total: int | None,
    progress: Progress | None,
) -> None:
    done = start
    with _written(part), open(part, "ab" if start else "wb") as file:
        while True:
            try:
                chunk = response.read(CHUNK)
            except http.client.IncompleteRead as error:
                file.write(error.partial)
                raise _Interrupted("the connection was cut") from error
            except (OSError, http.client.HTTPException) as error:
                raise _Interrupted(_reason(error)) from error
            if not chunk:
                break
            file.write(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, total)
    if total is not None and done < total:
        raise _Interrupted(f"the connection was cut after {done} of {total} bytes")


def _fault(path: Path, size: int | None, sha256: str | None) -> str | None:
    actual = _size(path)
    if size is not None and actual != size:
        return f"the file has {actual} bytes instead of {size}"
    if sha256 is not None:
        digest = sha256_of(path)
        if digest != sha256.lower():
            return f"the file has the SHA-256 {digest} instead of {sha256.lower()}"
    return None


def _given_up(url: str, path: Path, reason: str) -> DataError:
    return DataError(
        f"could not download {url}: {reason}; download it by other means and put it at {path}"
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _total(content_range: str | None) -> int | None:
    end = (content_range or "").rpartition("/")[2]
    return int(end) if end.isdigit() else None


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, OSError):
        error = error.reason
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    """Name the file when the disk is full or not writable."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}; free space or choose another folder"
        ) from error
