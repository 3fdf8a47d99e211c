"""Where studies are kept: a journal file or a database; one coordinator at a time.

The journal is Optuna's: one JSON object a line, appended.  Optuna's own locks of it are files that
stay behind when their process is killed, and then hold up everyone for half a minute.  Here the
coordinator holds an advisory lock (``flock``) on the journal itself for as long as it works, which
the system takes back however the process ends; see :mod:`swath.study.journal`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from swath.core.errors import RunError
from swath.core.files import expanded

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

__all__ = ["is_url", "journal_path", "reading", "repair", "without_password", "writing"]

PathLike = str | os.PathLike[str]
_BLOCK = 1 << 16


def is_url(where: PathLike) -> bool:
    """Return whether a study is kept in a database rather than in a file."""
    return "://" in str(where)


def journal_path(where: PathLike) -> Path:
    """Return the journal of a run folder; a path that ends in ``.journal`` is one itself."""
    path = expanded(where)
    return path if path.suffix == ".journal" else path / "study.journal"


def without_password(url: PathLike) -> str:
    """Return a database's URL as it may be shown."""
    scheme, mark, rest = str(url).partition("://")
    login, at, host = rest.rpartition("@")
    return f"{scheme}{mark}{login.partition(':')[0]}{at}{host}"


@contextlib.contextmanager
def writing(where: PathLike, name: str) -> Iterator[BaseStorage]:
    """Open a storage as its only coordinator.

    Parameters
    ----------
    where : a run folder, a journal file, or the URL of a database, in which
        ``$NAME`` stands for a variable of the environment (a password).
    name : of the study; in a database each has a coordinator of its own.

    Raises
    ------
    RunError : another process works on it, or it cannot be opened.
    """
    if is_url(where):
        storage = _database(where)
        with _database_lock(storage, where, name):
            yield storage
    else:
        path = journal_path(where)
        with _locked_file(path, path.parent):
            repair(path)
            with _opened_journal(path) as storage:
                yield storage


def reading(where: PathLike) -> BaseStorage:
    """Open a storage to look at it, while a coordinator may be at work.

    Raises
    ------
    RunError : there is none, or it cannot be read.
    """
    if is_url(where):
        _require_file(where)
        return _database(where)
    path = journal_path(where)
    if not path.is_file():
        raise RunError(f"{where} holds no study: it has no {path.name}")
    from swath.study.journal import Journal

    return _storage(Journal(str(path)), path)


def repair(path: Path) -> None:
    """Cut off what a killed process left half written at the end of a journal.

    Only its coordinator may call this.
    """
    with open(path, "rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = _start_of_last_line(file, end)
            file.seek(start)
            if _is_record(file.read(end - start)):
                break
            file.truncate(start)
            end = start


def _start_of_last_line(file: IO[bytes], end: int) -> int:
    """Return where the line begins that ends at ``end``."""
    stop = end - 1
    while stop > 0:
        begin = max(0, stop - _BLOCK)
        file.seek(begin)
        found = file.read(stop - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        stop = begin
    return 0


def _is_record(line: bytes) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


@contextlib.contextmanager
def _opened_journal(path: Path) -> Iterator[BaseStorage]:
    """Read a journal, and let go of it with what was appended safe on the disk."""
    from swath.study.journal import Journal

    journal = Journal(str(path))
    try:
        yield _storage(journal, path)
    finally:
        journal.sync()


def _storage(journal: Any, path: Path) -> BaseStorage:
    from optuna.storages import JournalStorage

    try:
        return JournalStorage(journal)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise RunError(
            f"{path} is no journal of a study, or is damaged ({error}); choose another folder"
        ) from error


def _require_file(url: PathLike) -> None:
    """Refuse a database of SQLite that is not there: to open it would make an empty one."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(os.path.expandvars(str(url)))
    except ArgumentError:
        return  # what is no URL is told where it is opened
    file = "" if parsed.query else parsed.database
    if parsed.get_backend_name() == "sqlite" and file and not Path(file).is_file():
        raise RunError(f"there is no database {file}; give the one that a study was kept in")


def _database(url: PathLike) -> BaseStorage:
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    shown = without_password(url)
    try:
        return RDBStorage(os.path.expandvars(str(url)), engine_kwargs={"pool_pre_ping": True})
    except ImportError as error:
        raise RunError(
            f"{shown} needs a driver that is not installed ({error}); install it, such as "
            "'pip install psycopg[binary]' for postgresql+psycopg://..."
        ) from error
    except ArgumentError as error:
        raise RunError(
            f"{shown} is no URL of a database; write one such as "
            "postgresql+psycopg://user:$PASSWORD@host/database"
        ) from error
    except (SQLAlchemyError, RuntimeError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise RunError(
            f"the database {shown} cannot be used ({reason}); is its server running, and the "
            "name right?"
        ) from error


@contextlib.contextmanager
def _locked_file(path: Path, shown: Path) -> Iterator[None]:
    import fcntl

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "ab")  # noqa: SIM115  (it is closed below)
    except OSError as error:
        raise RunError(
            f"cannot write {path}: {error.strerror or error}; choose another folder"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{shown} is in use by another process; wait for it") from None
        yield


@contextlib.contextmanager
def _database_lock(storage: Any, url: PathLike, name: str) -> Iterator[None]:
    """Hold a lock that the server takes back when this process or its connection ends."""
    from sqlalchemy import text

    engine = storage.engine
    kind, shown = engine.dialect.name, without_password(url)
    if kind == "sqlite":
        file = engine.url.database
        held = _locked_file(Path(f"{file}.lock"), file) if file else contextlib.nullcontext()
        with held:
            yield
        return
    digest = hashlib.sha256(f"swath/{name}".encode()).digest()
    if kind == "postgresql":
        query = "SELECT pg_try_advisory_lock(:key)"
        key: int | str = int.from_bytes(digest[:8], "little", signed=True)
    elif kind in ("mysql", "mariadb"):
        query, key = "SELECT GET_LOCK(:key, 0)", f"swath-{digest.hex()[:32]}"
    else:
        raise RunError(f"{shown}: studies are kept in PostgreSQL, MySQL or SQLite; choose one")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.execute(text(query), {"key": key}).scalar():
            raise RunError(
                f"the study '{name}' of {shown} is in use by another process; wait for it, or "
                "give this one another name"
            )
        try:
            yield
        finally:
            # Closing would only hand the connection back to the pool, with its lock.
            connection.invalidate()
