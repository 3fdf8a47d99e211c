"""The store: one record a trial, no half ones, no second coordinator, Optuna's own tools."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from study_parts import Hashed, Random, ToySpace

from swath.core.errors import RunError
from swath.study import backends, conduct, store
from swath.study.studies import Study, run_study

SPACE: Any = ToySpace()


def make(where: Any, trials: int = 12, **changes: Any) -> Study:
    options: dict[str, Any] = {"trials": trials, "store": where, "seed": 1} | changes
    return run_study(
        options.pop("space", SPACE),
        options.pop("strategy", Random()),
        options.pop("estimator", Hashed()),
        **options,
    )


@pytest.fixture(params=["journal", "sqlite"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return tmp_path / "run" if request.param == "journal" else f"sqlite:///{tmp_path / 'a.db'}"


# --- what is kept ---------------------------------------------------------------------------------


def test_what_is_written_is_read(where: Any) -> None:
    written = make(where)
    read = conduct.open_study(where)
    assert read.trials == written.trials
    assert read.records == written.records
    assert read.facts | {"format": 1} == dict(read.facts)
    assert read.objectives == written.objectives
    assert read.best == written.best


def test_a_finished_trial_is_one_line_of_the_journal(tmp_path: Path) -> None:
    make(tmp_path, trials=1)
    before = (tmp_path / "study.journal").read_text().splitlines()
    make(tmp_path, trials=9)
    after = (tmp_path / "study.journal").read_text().splitlines()
    assert after[: len(before)] == before
    assert len(after) - len(before) == 8


def test_optuna_reads_the_study_as_its_own(tmp_path: Path) -> None:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    study = make(tmp_path, trials=40)
    # With Optuna's own classes and locks, as its dashboard opens it.
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.journal")))
    loaded = optuna.load_study(study_name="swath", storage=storage)
    assert study.best is not None
    assert study.best.evaluation is not None
    assert loaded.best_value == study.best.evaluation.score
    assert loaded.best_trial.user_attrs["number"] == study.best.number
    assert loaded.best_params == study.best.architecture.as_dict()
    assert len(loaded.get_trials(states=[optuna.trial.TrialState.COMPLETE])) == 40
    assert loaded.metric_names == ["score"]
    assert set(optuna.importance.get_param_importances(loaded)) == {g.name for g in SPACE.genes}
    optuna.visualization.matplotlib.plot_optimization_history(loaded)
    optuna.visualization.matplotlib.plot_parallel_coordinate(loaded)


def test_a_study_in_memory_opens_in_optuna_too() -> None:
    study = make(None, trials=10)
    assert study.best is not None
    assert study.optuna().best_params == study.best.architecture.as_dict()


def test_optunas_dashboard_shows_the_study(tmp_path: Path) -> None:
    import optuna_dashboard as dashboard  # among what tests need, so missing it is a failure
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    make(tmp_path, trials=10)
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.journal")))
    app = dashboard.wsgi(storage)
    answers = {}
    for path in ("/api/studies", "/api/studies/0"):
        request: dict[str, Any] = {"PATH_INFO": path, "QUERY_STRING": "after=0"}
        request["wsgi.errors"] = io.StringIO()
        setup_testing_defaults(request)
        said: list[Any] = []
        body = b"".join(app(request, lambda *answer, said=said: said.append(answer)))
        assert said[0][0].startswith("200"), request["wsgi.errors"].getvalue()
        answers[path] = json.loads(body)
    assert [s["study_name"] for s in answers["/api/studies"]["study_summaries"]] == ["swath"]
    assert len(answers["/api/studies/0"]["trials"]) == 10


# --- what does not fit ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": ToySpace(name="other")}, "another space.*toy.*other"),
        ({"space": ToySpace(7)}, "another space"),
        ({"strategy": Random(9)}, "another strategy.*8.*9"),
        ({"estimator": Hashed(sleep=1e-9)}, "another estimator"),
        ({"seed": 2}, "another seed .there 1, here 2"),
        ({"constraints": {"parameters": {"max": 500}}}, "another constraints"),
    ],
)
def test_a_study_of_something_else_is_refused(
    changes: dict[str, Any], message: str, where: Any
) -> None:
    before = make(where).trials
    with pytest.raises(RunError, match=message):
        make(where, **changes)
    assert conduct.open_study(where).trials == before


def test_another_version_of_the_same_space_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    newer = ToySpace()
    newer.genes = tuple(type(gene)(gene.name, (*gene.choices, "conv5")) for gene in newer.genes)
    with pytest.raises(RunError, match="another genes"):
        make(tmp_path, space=newer)


def test_a_journal_of_another_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(store, "FORMAT", 99)
        make(tmp_path)
    for use in (lambda: make(tmp_path), lambda: conduct.open_study(tmp_path)):
        with pytest.raises(RunError, match=r"another version of swath .format 99, here 1"):
            use()


def test_a_study_of_optuna_alone_is_refused(tmp_path: Path) -> None:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = tmp_path / "study.journal"
    storage = JournalStorage(JournalFileBackend(str(path)))
    study = optuna.create_study(study_name="swath", storage=storage)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    for use in (lambda: make(tmp_path), lambda: conduct.open_study(tmp_path)):
        with pytest.raises(RunError, match="none of swath's"):
            use()


@pytest.mark.parametrize("content", [b"hello\nworld\n", b"[1]\n{}\n", b'{"op_code": 77}\n'])
def test_a_file_that_is_no_journal_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"study\.journal"):
        conduct.open_study(tmp_path)


def test_no_study_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no study"):
        conduct.open_study(tmp_path)
    with pytest.raises(RunError, match="no folder"):
        conduct.find_studies(tmp_path / "x")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql+psycopg://nobody:secret@127.0.0.1:1/none", "cannot be used"),
        ("nosuch://host/db", "nosuch://host/db"),
        ("sqlite:////no/such/folder/a.db", "cannot be used"),
    ],
)
def test_a_database_that_cannot_be_used(url: str, message: str) -> None:
    with pytest.raises(RunError, match=message) as caught:
        make(url)
    assert "secret" not in str(caught.value)


def test_looking_for_a_database_makes_none(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    for look in (conduct.open_study, conduct.find_studies):
        with pytest.raises(RunError, match="there is no database"):
            look(url)
    assert not list(tmp_path.iterdir())


def test_several_studies_in_one_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    first, second = (make(url, name=name, seed=seed) for name, seed in (("a", 1), ("b", 2)))
    assert conduct.find_studies(url) == [(url, "a"), (url, "b")]
    assert conduct.open_study(url, "a").trials == first.trials
    assert conduct.open_study(url, "b").trials == second.trials
    with pytest.raises(RunError, match="no single study; it holds: a, b"):
        conduct.open_study(url)
    with pytest.raises(RunError, match="no study 'c'"):
        conduct.open_study(url, "c")


# --- kills and second coordinators ----------------------------------------------------------------


def test_a_journal_cut_anywhere_in_its_last_record_is_repaired(tmp_path: Path) -> None:
    whole = make(tmp_path)
    path = tmp_path / "study.journal"
    data = path.read_bytes()
    last = data.rindex(b"\n", 0, -1) + 1
    for size in {*range(last, last + 40), *range(last, len(data), 23), len(data) - 1, len(data)}:
        path.write_bytes(data[:size])
        assert len(conduct.open_study(tmp_path).trials) == 11 + (size == len(data))
        again = make(tmp_path)
        assert again.trials == whole.trials
        assert conduct.open_study(tmp_path).trials == whole.trials


@pytest.mark.parametrize("tail", [b"\0" * 700, b"\0" * 100 + b"\n", b"12\n", b"{\n", b"\n"])
def test_what_is_no_record_at_the_end_is_cut_off(tail: bytes, tmp_path: Path) -> None:
    """A power failure may leave a file longer than what was written to it."""
    whole = make(tmp_path)
    path = tmp_path / "study.journal"
    data = path.read_bytes()
    path.write_bytes(data + tail)
    backends.repair(path)
    assert path.read_bytes() == data
    assert make(tmp_path, trials=14).trials[:12] == whole.trials


def test_a_study_killed_before_its_first_trial_begins_anew(tmp_path: Path) -> None:
    whole = make(tmp_path)
    path = tmp_path / "study.journal"
    lines = path.read_bytes().splitlines(keepends=True)
    for count in range(4):
        path.write_bytes(b"".join(lines[:count]))
        assert make(tmp_path).trials == whole.trials


def test_two_trials_of_one_number_are_damage(tmp_path: Path) -> None:
    make(tmp_path)
    path = tmp_path / "study.journal"
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[-1])
    with pytest.raises(RunError, match="two trials of number 11"):
        conduct.open_study(tmp_path)


def test_a_gap_is_damage(tmp_path: Path) -> None:
    make(tmp_path, trials=20)
    path = tmp_path / "study.journal"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if b'"number":3,' not in line))
    with pytest.raises(RunError, match="trial 3 is missing"):
        make(tmp_path, trials=20)


HOLDER = """
import sys
sys.path.insert(0, sys.argv[2])
from study_parts import Hashed, Random, ToySpace
from swath.study.studies import run_study

def progress(event):
    print(event["done"], flush=True)
    sys.stdin.readline()

run_study(ToySpace(), Random(), Hashed(), trials=5, store=sys.argv[1], seed=1, progress=progress)
"""


def test_a_second_coordinator_is_refused_and_a_killed_one_leaves_no_lock(where: Any) -> None:
    command = [sys.executable, "-c", HOLDER, str(where), str(Path(__file__).parent)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "1\n"
            with pytest.raises(RunError, match="in use by another process; wait for it"):
                make(where, trials=5)
            assert len(conduct.open_study(where).trials) == 1
        finally:
            holder.kill()
    assert len(make(where, trials=5).trials) == 5
    if not backends.is_url(where):
        assert os.listdir(where) == ["study.journal"]


def test_the_folder_of_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        make(tmp_path / "file" / "study")


def test_a_full_disk_says_so_and_the_study_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(None)
    write = os.write
    with monkeypatch.context() as patch:
        make(tmp_path, trials=5)
        patch.setattr(os, "write", lambda file, data: write(file, data[: len(data) // 2]))
        with pytest.raises(RunError, match=r"no space left.*free space"):
            make(tmp_path)
    assert len(conduct.open_study(tmp_path).trials) == 5
    assert make(tmp_path).trials == whole.trials


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@host/db", "postgresql://me@host/db"),
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("postgresql://host/db", "postgresql://host/db"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    assert backends.without_password(url) == shown
