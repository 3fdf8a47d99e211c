"""The store of a study: one record for each finished trial, written at once.

A record is one complete trial of Optuna's storage, appended in one step, so that a kill can never
leave half of one: a trial that died has none and is run again.  What Optuna's own tools need stands
where they look for it (parameters, values, states); the rest is in the user attributes.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from swath import __version__
from swath.core.architecture import Architecture
from swath.core.errors import RunError, nearest
from swath.core.evaluation import Evaluation
from swath.core.history import Objective, Proposal, Trial
from swath.study.backends import PathLike, is_url, reading, without_password, writing

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from swath.core.architecture import Gene

__all__ = ["FORMAT", "Record", "Store", "create", "load", "names", "open_store", "plain"]

FORMAT = 1
_FACTS = "swath"


class Record(NamedTuple):
    """A finished trial and where it stands in the study.

    Parameters
    ----------
    batch, batch_size : number of the first trial of its batch, and how many the strategy proposed.
    seconds : wall-clock time of the evaluation, where it ran.
    proposing : the trial's share in the seconds that the strategy took for its batch, such as those
        of predictors and of proxies.
    """

    trial: Trial
    batch: int
    batch_size: int
    seconds: float
    proposing: float = 0.0


class Store:
    """Takes the records of one study; made by :func:`open_store`."""

    def __init__(
        self, storage: BaseStorage, study: int, genes: Sequence[Gene], goals: Sequence[Objective]
    ) -> None:
        from optuna.distributions import CategoricalDistribution

        self._storage, self._study, self._goals = storage, study, tuple(goals)
        self._distributions: dict[str, BaseDistribution] = {
            gene.name: CategoricalDistribution(gene.choices) for gene in genes
        }

    def add(self, record: Record) -> None:
        """Write a record; it is on the disk, or committed, when this returns."""
        from optuna.trial import FrozenTrial, TrialState

        trial = record.trial
        evaluation = trial.evaluation
        end = datetime.datetime.now()
        values = None if evaluation is None else [g.value(evaluation) for g in self._goals]
        template = FrozenTrial(
            number=-1,  # Optuna's own numbers follow the order of finishing
            trial_id=-1,
            state=TrialState.FAIL if values is None else TrialState.COMPLETE,
            value=None,
            values=values,
            datetime_start=end - datetime.timedelta(seconds=record.seconds),
            datetime_complete=end,
            params=trial.architecture.as_dict(),
            distributions=dict(self._distributions),
            user_attrs=_attributes(record),
            system_attrs={},
            intermediate_values={},
        )
        self._storage.create_new_trial(self._study, template)


@contextlib.contextmanager
def open_store(
    where: PathLike | None,
    name: str,
    facts: Mapping[str, Any],
    genes: Sequence[Gene],
    goals: Sequence[Objective],
) -> Iterator[tuple[Store | None, list[Record]]]:
    """Begin a study, or continue it: give its store and the records that it has.

    Parameters
    ----------
    where : see :func:`swath.study.backends.writing`; None: nothing is kept but in memory.
    facts : what the study is of (JSON-ready); a study of other facts is not continued.

    Raises
    ------
    RunError : another process works on it; it is of another space, strategy, ... or version.
    """
    if where is None:
        yield None, []
        return
    with writing(where, name) as storage:
        study = _find(storage, name)
        if study is not None and not storage.get_n_trials(study):
            # It was killed, or refused, before a first trial: there is nothing to continue.
            storage.delete_study(study)
            study = None
        if study is None:
            study = create(storage, name, goals)
            _write_facts(storage, study, facts)
        else:
            _compare(_facts(storage, study, where), facts, where)
        yield Store(storage, study, genes, goals), _records(storage, study, facts, where)


def load(where: PathLike, name: str | None = None) -> tuple[str, dict[str, Any], list[Record]]:
    """Read a study: its name, its facts, and its records in the order of their numbers.

    Parameters
    ----------
    name : may be left out where there is but one.

    Raises
    ------
    RunError : there is no such study, or several of which one must be named.
    """
    storage = reading(where)
    known = [one.study_name for one in storage.get_all_studies()]
    if name is None and len(known) == 1:
        name = known[0]
    if name is None or name not in known:
        listed = ", ".join(known) or "none"
        what = f"no study '{name}'{nearest(name, known)}" if name else "no single study"
        raise RunError(f"{_shown(where)} holds {what}; it holds: {listed}")
    study = storage.get_study_id_from_name(name)
    facts = _facts(storage, study, where)
    return name, facts, _records(storage, study, facts, where)


def names(where: PathLike) -> list[str]:
    """Return the names of the studies that a store holds."""
    return [one.study_name for one in reading(where).get_all_studies()]


def plain(value: Any) -> Any:
    """Return what JSON can hold: NumPy's numbers become Python's, and NaN becomes None."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def _attributes(record: Record) -> dict[str, Any]:
    """Return what Optuna has no place for; in a database each of these is a row of its own."""
    trial = record.trial
    rest = {
        "batch": record.batch,
        "batch_size": record.batch_size,
        "architecture": trial.architecture.key,
        "evaluation": None if trial.evaluation is None else trial.evaluation.to_dict(),
        "seconds": record.seconds,
        "proposing": record.proposing,
    }
    told = {"number": trial.number, "budget": trial.budget, "reason": trial.reason, _FACTS: rest}
    return {key: value for key, value in told.items() if value is not None}


def _find(storage: BaseStorage, name: str) -> int | None:
    try:
        return int(storage.get_study_id_from_name(name))
    except KeyError:
        return None


def create(storage: BaseStorage, name: str, goals: Sequence[Objective]) -> int:
    """Create a study in a storage of Optuna; return its number there."""
    from optuna import logging
    from optuna.study import StudyDirection

    directions = [StudyDirection[goal.direction.upper()] for goal in goals]
    before = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        return int(storage.create_new_study(directions, name))
    finally:
        logging.set_verbosity(before)


def _write_facts(storage: BaseStorage, study: int, facts: Mapping[str, Any]) -> None:
    # Optuna's dashboard shows these names beside the values.
    goals = [goal["name"] for goal in facts["objectives"]]
    storage.set_study_system_attr(study, "study:metric_names", goals)
    stamped = {"format": FORMAT, "version": __version__, **plain(facts)}
    storage.set_study_user_attr(study, _FACTS, stamped)


def _facts(storage: BaseStorage, study: int, where: PathLike) -> dict[str, Any]:
    facts = storage.get_study_user_attrs(study).get(_FACTS)
    if not isinstance(facts, dict):
        raise RunError(f"{_shown(where)} holds a study that is none of swath's; choose another")
    if facts.get("format") != FORMAT:
        raise RunError(
            f"{_shown(where)} was written by another version of swath (format "
            f"{facts.get('format')}, here {FORMAT}); use that version, or choose another folder"
        )
    return facts


def _compare(before: Mapping[str, Any], now: Mapping[str, Any], where: PathLike) -> None:
    """Refuse to continue a study of something else; the message says of what."""
    for key in now:
        if before.get(key) != plain(now[key]):
            raise RunError(
                f"{_shown(where)} holds a study of another {key} (there {_words(before.get(key))}, "
                f"here {_words(plain(now[key]))}); choose another --out, or give the same again "
                "to continue it"
            )


def _words(value: Any, most: int = 160) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= most else f"{text[:most]}..."


def _shown(where: PathLike) -> str:
    return without_password(where) if is_url(where) else str(where)


def _records(
    storage: BaseStorage, study: int, facts: Mapping[str, Any], where: PathLike
) -> list[Record]:
    space, genes = facts["space"]["name"], list(facts["genes"])
    stored = storage.get_all_trials(study, deepcopy=False)
    # Trials that somebody else added with Optuna have no number of ours.
    ours = [one for one in stored if "number" in one.user_attrs]
    records = sorted((_record(one, space, genes) for one in ours), key=lambda r: r.trial.number)
    for before, after in itertools.pairwise(records):
        if before.trial.number == after.trial.number:
            raise RunError(
                f"{_shown(where)} is damaged: it holds two trials of number {after.trial.number}"
            )
    return records


def _record(stored: FrozenTrial, space: str, genes: Sequence[str]) -> Record:
    told = stored.user_attrs
    rest = told[_FACTS]
    architecture = Architecture(space, tuple((gene, stored.params[gene]) for gene in genes))
    evaluation = rest["evaluation"]
    trial = Trial(
        told["number"],
        Proposal(architecture, told.get("budget")),
        None if evaluation is None else Evaluation.from_dict(evaluation),
        told.get("reason"),
    )
    place = rest["batch"], rest["batch_size"]
    return Record(trial, *place, rest["seconds"], rest.get("proposing", 0.0))
