"""Studies: a strategy proposes, an estimator evaluates, and every finished trial is kept at once.

The history is the truth.  Trials are numbered in the order of proposal and proposed in batches; a
batch depends on the trials before it and on the study's seed alone, and a trial's own seed on its
number.  So the same study has the same trials however many workers evaluate them, in whatever order
they finish, and however often it is killed: what was finished stays, the batch that was not
finished is proposed again from the history as it stood before it, and what is missing is evaluated.
That holds for adaptive strategies too; they see the history once a batch.
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from swath.core.architecture import Gene
from swath.core.errors import RecipeError, RunError
from swath.core.evaluation import Evaluation
from swath.core.history import History, Objective, Proposal, Trial
from swath.core.seeds import derive
from swath.study.constraints import Limits, gap_of, restricted
from swath.study.describe import describe_study
from swath.study.pareto import non_dominated
from swath.study.scorers import with_scores
from swath.study.store import Record, Store, create, open_store, plain
from swath.study.workers import Executor, InProcess, Job, Outcome

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage

    from swath.estimators.base import Estimator
    from swath.spaces.base import SearchSpace
    from swath.strategies.base import Strategy

__all__ = ["Study", "run_study"]

Progress = Callable[[dict[str, Any]], None]
PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Study:
    """The trials of a study and what they are judged by.

    Parameters
    ----------
    name : in its store.
    store : a run folder, a journal file, a database's URL, or None (memory).
    facts : space, strategy, estimator, objectives, constraints and seed, JSON-ready.
    records : the finished trials in the order of their numbers.
    """

    name: str
    store: PathLike | None
    facts: Mapping[str, Any]
    records: tuple[Record, ...]

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """What is to be made large or small; the first one decides what is best."""
        return tuple(Objective(**one) for one in self.facts["objectives"])

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The finished trials, infeasible ones too."""
        return tuple(record.trial for record in self.records)

    @cached_property
    def history(self) -> History:
        """The trials as a strategy sees them."""
        return History(self.trials, self.objectives)

    @cached_property
    def comparable(self) -> tuple[Trial, ...]:
        """The feasible trials at the largest budget that was tried: others do not compare."""
        feasible = [trial for trial in self.trials if trial.evaluation is not None]
        largest = max((trial.budget or 0 for trial in feasible), default=0)
        return tuple(trial for trial in feasible if (trial.budget or 0) == largest)

    def ranked(self) -> list[Trial]:
        """Return the comparable trials, best first objective first; of equals the earlier."""
        return sorted(self.comparable, key=lambda trial: -self.history.merit(trial))

    @property
    def best(self) -> Trial | None:
        """The first of :meth:`ranked`; None where no trial is feasible."""
        return next(iter(self.ranked()), None)

    def pareto(self) -> list[Trial]:
        """Return the comparable trials that none other beats in one objective and equals in all."""
        merits = [self.history.merits(trial) for trial in self.comparable]
        return [self.comparable[place] for place in non_dominated(merits)]

    def optuna(self) -> optuna.Study:
        """Return the study as Optuna's own tools take it; read it only."""
        import optuna

        from swath.study.backends import reading

        storage = self._in_memory() if self.store is None else reading(self.store)
        return optuna.load_study(study_name=self.name, storage=storage)

    def _in_memory(self) -> BaseStorage:
        from optuna.storages import InMemoryStorage

        storage = InMemoryStorage()
        study = create(storage, self.name, self.objectives)
        genes = [Gene(name, tuple(choices)) for name, choices in self.facts["genes"].items()]
        copy = Store(storage, study, genes, self.objectives)
        for record in self.records:
            copy.add(record)
        return storage


def run_study(
    space: SearchSpace,
    strategy: Strategy,
    estimator: Estimator,
    *,
    trials: int,
    seed: int = 0,
    objectives: Sequence[Objective] = (),
    constraints: Mapping[str, Limits] | None = None,
    store: PathLike | None = None,
    name: str = "swath",
    workers: int = 1,
    scheduler: str | None = None,
    facts: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Study:
    """Run a study until it has ``trials`` trials, or continue it.

    The same call continues a study that was interrupted; with more ``trials`` one that was
    complete.  Infeasible trials (out of memory, a score that is no number, a gap in a table, a
    worker that died three times) count, with the reason.

    Parameters
    ----------
    trials : how many the study is to have, the earlier ones included.
    seed : of every draw.
    objectives : the estimator's score by default; the first one decides what is best.
    constraints : limits that are checked before an architecture is evaluated, such as
        ``{"parameters": {"max": 100_000}, "flops": {"min": 1e6, "max": 1e9}}``.
    store : None (memory), a run folder, a journal file, or a database's URL.
    name : of the study in the store.
    workers : processes on this machine; 1: this one.
    scheduler : the address of a Dask scheduler, whose workers are used instead.
    facts : what is written of the parts; by default their names and options.
    progress : called with {"phase": "trials", "done", "total", "best", "infeasible"} after each
        trial, and with {"phase": "resume" | "note", "text": ...}.

    Raises
    ------
    RecipeError : something asked for makes no sense; nothing was evaluated, or the estimator does
        not give an objective.
    NothingToSample : the constraints leave nothing to try.
    RunError : the store is in use, of another study, or cannot be used.
    """
    if trials < 1:
        raise RecipeError(f"a study of {trials} trials has nothing to do; ask for at least one")
    if workers < 1:
        raise RecipeError(f"a study cannot have {workers} workers; ask for at least one")
    goals = tuple(objectives) or (Objective("score", estimator.direction),)
    if len({goal.name for goal in goals}) < len(goals):
        raise RecipeError("an objective stands twice in the list; name each once")
    limits = {key: dict(limit) for key, limit in (constraints or {}).items()}
    searched = restricted(space, estimator, limits)
    strategy = with_scores(strategy, estimator, progress)
    about = plain(facts or describe_study(space, strategy, estimator))
    about |= {
        "genes": plain({gene.name: gene.choices for gene in space.genes}),
        "objectives": [{"name": one.name, "direction": one.direction} for one in goals],
        "constraints": plain(limits),
        "seed": seed,
    }
    with open_store(store, name, about, space.genes, goals) as (kept, records):
        course = _Course(
            searched, strategy, estimator, goals, seed, kept, records, progress or _silent
        )
        if not course.complete(trials):
            with closing(_executor(estimator, workers, scheduler)) as executor:
                course.run(trials, executor)
        return Study(name, store, about, tuple(course.records))


def _silent(event: dict[str, Any]) -> None:
    pass


def _executor(estimator: Estimator, workers: int, scheduler: str | None) -> Executor:
    if scheduler is not None:
        from swath.study.cluster import Cluster

        return Cluster(estimator, scheduler)
    if workers > 1:
        from swath.study.processes import Processes

        return Processes(estimator, workers)
    return InProcess(estimator)


class _Course:
    """The course of a study: what was done, and the batch that comes next."""

    def __init__(
        self,
        space: SearchSpace,
        strategy: Strategy,
        estimator: Estimator,
        goals: tuple[Objective, ...],
        seed: int,
        store: Store | None,
        records: Sequence[Record],
        progress: Progress,
    ) -> None:
        self._space, self._strategy, self._goals, self._seed = space, strategy, goals, seed
        self._estimator, self._store, self._progress = estimator, store, progress
        self._done = {record.trial.number: record for record in records}
        self._proposing = 0.0  # seconds
        self._best: float | None = None
        self._infeasible = 0
        for record in records:
            self._count(record.trial)
        # Batches are worked off one after the other: all but the last are complete.
        last = max(records, key=lambda record: record.batch, default=None)
        self._start = 0 if last is None else last.batch
        self._size = None if last is None else last.batch_size
        self._trials = [self._done[n].trial for n in range(self._start) if n in self._done]
        if len(self._trials) < self._start:
            missing = next(n for n in range(self._start) if n not in self._done)
            raise RunError(f"the study is damaged: its trial {missing} is missing")
        if records:
            text = f"continuing a study of {len(records)} finished trials"
            progress({"phase": "resume", "text": text})

    @property
    def records(self) -> list[Record]:
        """The finished trials in the order of their numbers."""
        return [self._done[number] for number in sorted(self._done)]

    def complete(self, trials: int) -> bool:
        """Whether nothing is left to do."""
        return all(number in self._done for number in range(self._start, trials))

    def run(self, trials: int, executor: Executor) -> None:
        """Work off one batch after the other."""
        while not self.complete(trials):
            if not self._batch_is_finished():
                batch = self._propose()
                if not batch:
                    text = f"the strategy has nothing left to try after {self._start} trials"
                    self._progress({"phase": "note", "text": text})
                    return
                self._evaluate(batch, trials, executor)
            self._close_batch()

    def _batch_is_finished(self) -> bool:
        return self._size is not None and self.complete(self._start + self._size)

    def _close_batch(self) -> None:
        """Go on behind the batch if it is finished: a last one may have been cut."""
        if self._size is not None and self._batch_is_finished():
            self._trials += [self._done[self._start + place].trial for place in range(self._size)]
            self._start, self._size = self._start + self._size, None

    def _propose(self) -> Sequence[Proposal]:
        history = History(tuple(self._trials), self._goals)
        begun = time.perf_counter()
        batch = tuple(self._strategy.propose(self._space, history, self._seed))
        self._proposing = time.perf_counter() - begun
        for proposal in batch:
            self._space.validate(proposal.architecture)
        return batch

    def _evaluate(self, batch: Sequence[Proposal], trials: int, executor: Executor) -> None:
        """Evaluate what is missing of a batch, as far as ``trials`` goes."""
        self._size = self._size or len(batch)
        jobs = {
            number: Job(number, proposal, derive(self._seed, "trial", number))
            for number, proposal in self._missing(batch).items()
            if number < trials
        }
        if not jobs:
            raise RunError(
                "the strategy no longer proposes what is missing of its last batch; continue with "
                "the versions of swath and its libraries with which the study was begun"
            )
        proposing = self._proposing / len(jobs)
        for outcome in executor.run(list(jobs.values())):
            trial = self._judged(jobs[outcome.number].proposal, outcome)
            record = Record(trial, self._start, self._size, outcome.seconds, proposing)
            if self._store is not None:
                self._store.add(record)
            self._done[trial.number] = record
            self._count(trial)
            self._progress(
                {
                    "phase": "trials",
                    "done": len(self._done),
                    "total": trials,
                    "best": self._best,
                    "objective": self._goals[0].name,
                    "infeasible": self._infeasible,
                }
            )

    def _missing(self, batch: Sequence[Proposal]) -> dict[int, Proposal]:
        """Return the proposals of a batch that have no trial yet, by number."""
        planned = dict(enumerate(batch, self._start))
        numbers = range(self._start, self._start + (self._size or 0))
        done = {n: self._done[n].trial.proposal for n in numbers if n in self._done}
        unfinished = [n for n in numbers if n not in done]
        if len(batch) == self._size and all(planned[n] == one for n, one in done.items()):
            return {n: planned[n] for n in unfinished}
        # The strategy computes otherwise than when the batch was begun (another release of a
        # library, another processor): what is finished stays, and nothing is tried twice.
        text = "the strategy proposes another batch than before the interruption; going on with it"
        self._progress({"phase": "note", "text": text})
        tried = Counter(done.values())
        fresh: list[Proposal] = []
        for proposal in batch:
            if tried[proposal]:
                tried[proposal] -= 1
            else:
                fresh.append(proposal)
        return dict(zip(unfinished, fresh, strict=False))

    def _judged(self, proposal: Proposal, outcome: Outcome) -> Trial:
        """Return the trial of an outcome; what is missing or no number makes it infeasible."""
        evaluation, reason = outcome.evaluation, outcome.reason
        if evaluation is not None:
            names = [goal.name for goal in self._goals]
            gap = gap_of(self._estimator, proposal.architecture, names, proposal.budget)
            reason = gap or _problem(evaluation, self._goals)
            evaluation = None if reason else Evaluation.from_dict(plain(evaluation.to_dict()))
        return Trial(outcome.number, proposal, evaluation, reason)

    def _count(self, trial: Trial) -> None:
        if trial.evaluation is None:
            self._infeasible += 1
            return
        value = self._goals[0].value(trial.evaluation)
        better = max if self._goals[0].direction == "maximize" else min
        self._best = value if self._best is None else better(self._best, value)


def _problem(evaluation: Evaluation, goals: Sequence[Objective]) -> str | None:
    """Return why an evaluation cannot be judged, or None."""
    for goal in (Objective("score", evaluation.direction), *goals):
        value = goal.value(evaluation)
        if not math.isfinite(value):
            return f"the {goal.name} is {value}"
    return None
