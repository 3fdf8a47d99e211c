"""Commands of studies: run one, look at it, write it out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swath.cli import options
from swath.cli.files import check_outputs, study_files
from swath.cli.output import facts, resumable, say, show, table
from swath.core.errors import RecipeError, RunError
from swath.core.words import counted

if TYPE_CHECKING:
    from swath.core.history import Trial
    from swath.study.studies import Study

__all__ = ["app"]

app = typer.Typer(help="Studies: search with any strategy, every trial kept.")

Store = Annotated[
    str, typer.Argument(help="Run folder, journal, or URL of a database.", metavar="FOLDER|URL")
]
Name = Annotated[
    str | None,
    typer.Option("--study", help="Which one, where the database has several.", metavar="NAME"),
]


@app.command()
def run(
    recipe: Annotated[
        str, typer.Argument(help="A YAML file, or a name of 'swath recipes'.", metavar="RECIPE")
    ],
    out: options.Out,
    trials: Annotated[
        int | None,
        typer.Option(help="How many the study is to have; may be raised later.", metavar="N"),
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Processes on this machine (1: none but this one).", metavar="N")
    ] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="A Dask scheduler whose workers evaluate, such as tcp://host:8786.",
            metavar="ADDRESS",
        ),
    ] = None,
    overrides: options.Overrides = None,
    seed: options.Seed = None,
) -> None:
    """Run the study of a recipe; the same command continues it, with more --trials further.

    swath study run study-nasbench201-npenas --out study
    """
    if scheduler is not None and workers != 1:
        raise RecipeError("--workers is of this machine and --scheduler of a cluster; give one")
    from swath.cli.progress import shown
    from swath.study.conduct import run_study

    with resumable(), shown() as progress:
        study = run_study(
            recipe,
            out=out,
            workers=workers,
            scheduler=scheduler,
            trials=trials,
            seed=seed,
            overrides=overrides or (),
            progress=progress,
        )
    _summary(study)
    facts([("study", str(out)), ("look at it", f"swath study plot {out} --out {out}/plots")])


@app.command("list")
def list_studies(store: Store) -> None:
    """List the studies in a folder, in the folders in it, or in a database."""
    from swath.study.backends import without_password
    from swath.study.conduct import study_places

    found = dict(one for place in study_places(store) for one in _listed(place))
    errors = [one for one in found.values() if isinstance(one, RunError)]
    if not found:
        where = without_password(store)
        raise RunError(f"there is no study in {where}; 'swath study run' makes one")
    if len(errors) == len(found):
        raise errors[0]
    dashes = ["–"] * 5
    rows = [(key, *(dashes if isinstance(one, RunError) else one)) for key, one in found.items()]
    names = ("study", "space", "strategy", "estimator", "trials", "best")
    show(table(names, rows, right=(4, 5)))
    for error in errors:
        say(str(error))


def _listed(place: os.PathLike[str] | str) -> Iterator[tuple[str, Sequence[str] | RunError]]:
    """Yield what a study is called and its row, or why it cannot be read."""
    from swath.study.backends import is_url, without_password
    from swath.study.conduct import open_study, studies_at

    try:
        found = studies_at(place)
    except RunError as error:
        yield without_password(place) if is_url(place) else str(place), error
        return
    for where, name in found:
        called = f"{without_password(where)}: {name}" if is_url(where) else str(where)
        try:
            yield called, _row(open_study(where, name))
        except RunError as error:
            yield called, error


def _row(study: Study) -> Sequence[str]:
    best = study.best
    return (
        study.facts["space"]["name"],
        study.facts["strategy"]["name"],
        study.facts["estimator"]["name"],
        str(len(study.trials)),
        "–" if best is None else _values(study, best)[0],
    )


@app.command("show")
def show_study(
    store: Store,
    trial: Annotated[
        int | None, typer.Argument(help="Show this trial in detail.", metavar="TRIAL")
    ] = None,
    name: Name = None,
) -> None:
    """Show what a study is of and how far it is, or one of its trials."""
    study = _opened(store, name)
    if trial is not None:
        _show_trial(study, _trial(study, trial))
        return
    about = study.facts
    facts(
        [
            ("space", _part(about["space"])),
            ("strategy", _part(about["strategy"])),
            ("estimator", _part(about["estimator"])),
            ("objectives", ", ".join(f"{o.direction} {o.name}" for o in study.objectives)),
            *([("constraints", str(about["constraints"]))] if about["constraints"] else []),
            ("seed", str(about["seed"])),
        ]
    )
    _summary(study)
    reasons = [trial.reason for trial in study.trials if trial.reason]
    for reason in dict.fromkeys(reasons):
        typer.echo(f"{reasons.count(reason):>6} times infeasible: {reason}")


@app.command()
def best(
    store: Store,
    count: Annotated[int, typer.Option(help="So many of them.", min=1, metavar="N")] = 10,
    name: Name = None,
) -> None:
    """List the best trials by the first objective."""
    study = _opened(store, name)
    _show_trials(study, study.ranked()[:count])


@app.command()
def pareto(store: Store, name: Name = None) -> None:
    """List the trials that none other beats in one objective and equals in the rest."""
    study = _opened(store, name)
    _show_trials(study, sorted(study.pareto(), key=study.history.merit, reverse=True))


@app.command()
def export(
    store: Store,
    csv: Annotated[
        Path | None, typer.Option(help="A table, one trial a row.", metavar="FILE")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="All that is known of every trial.", metavar="FILE")
    ] = None,
    name: Name = None,
) -> None:
    """Write the trials of a study to a CSV or JSON file."""
    from swath.core.files import write_text
    from swath.study.export import to_csv, to_json

    written = {"csv": (csv, to_csv), "json": (json, to_json)}
    wanted = {kind: (path, text) for kind, (path, text) in written.items() if path is not None}
    if not wanted:
        raise RecipeError("nothing was asked for; give --csv FILE, --json FILE or both")
    check_outputs([csv, json], study_files(store))
    study = _opened(store, name)
    for path, text in wanted.values():
        write_text(path, text(study))
    facts([(kind, str(path)) for kind, (path, _) in wanted.items()])


@app.command()
def plot(
    store: Store,
    out: Annotated[Path, typer.Option(help="Folder of the pictures.", metavar="FOLDER")],
    kind: Annotated[
        str, typer.Option("--format", help="Of the pictures.", **options.one_of("png", "svg"))
    ] = "png",
    name: Name = None,
) -> None:
    """Draw a study: best so far, batches, scores, Pareto front, genes."""
    from swath.core.files import check_writable
    from swath.report.study_plots import plot_study

    check_writable(out / "best.png")
    study = _opened(store, name)
    with _nothing_to_draw(study):
        written = plot_study(study, out, kind)
    facts([(path.stem, str(path)) for path in written])


@contextlib.contextmanager
def _nothing_to_draw(study: Study) -> Iterator[None]:
    if study.best is None:
        raise RunError("the study has no feasible trial yet, so that nothing can be drawn")
    yield


def _opened(store: str, name: str | None) -> Study:
    from swath.study.conduct import open_study

    return open_study(store, name)


def _trial(study: Study, number: int) -> Trial:
    for trial in study.trials:
        if trial.number == number:
            return trial
    last = max((trial.number for trial in study.trials), default=None)
    known = "it has none yet" if last is None else f"its trials are numbered 0 to {last}"
    raise RunError(f"the study has no trial {number}; {known}")


def _summary(study: Study) -> None:
    infeasible = sum(trial.evaluation is None for trial in study.trials)
    found = study.best
    pairs = [("trials", f"{len(study.trials):,}")]
    if infeasible:
        pairs.append(("infeasible", f"{infeasible:,}"))
    if found is not None:
        names = [objective.name for objective in study.objectives]
        figures = [f"{n} {v}" for n, v in zip(names, _values(study, found), strict=True)]
        pairs.append(("best", f"trial {found.number}: {', '.join(figures)}"))
        pairs += [(f"  {gene}", str(value)) for gene, value in found.architecture.genes]
    if len(study.objectives) > 1:
        pairs.append(("Pareto front", counted(len(study.pareto()), "trial")))
    facts(pairs)


def _show_trial(study: Study, trial: Trial) -> None:
    pairs = [("trial", str(trial.number))]
    if trial.budget is not None:
        pairs.append(("budget", str(trial.budget)))
    if trial.reason is not None:
        pairs.append(("infeasible", trial.reason))
    if trial.evaluation is not None:
        cost = trial.evaluation.cost
        pairs.append(("score", f"{trial.evaluation.score:.6g}"))
        known = {"parameters": cost.parameters, "flops": cost.flops, "latency": cost.latency}
        pairs += [(key, f"{value:,}") for key, value in known.items() if value is not None]
        pairs.append(("seconds", f"{cost.seconds:.3g}"))
        pairs += [(f"metric {k}", str(v)) for k, v in trial.evaluation.metrics.items()]
    pairs += [(f"gene {gene}", str(value)) for gene, value in trial.architecture.genes]
    facts([*pairs, ("architecture", trial.architecture.to_json())])


def _show_trials(study: Study, trials: Sequence[Trial]) -> None:
    if not trials:
        say("the study has no feasible trial yet")
        return
    names = [objective.name for objective in study.objectives]
    costs = [one for one in ("parameters", "flops") if one not in names]
    rows = []
    for trial in trials:
        assert trial.evaluation is not None
        figures = [getattr(trial.evaluation.cost, one) for one in costs]
        rows.append(
            (
                str(trial.number),
                *_values(study, trial),
                *("–" if one is None else f"{one:,}" for one in figures),
                "–" if trial.budget is None else str(trial.budget),
                " ".join(str(value) for _, value in trial.architecture.genes),
            )
        )
    right = range(3 + len(names) + len(costs) - 1)
    show(table(("trial", *names, *costs, "budget", "genes"), rows, right=tuple(right)))


def _values(study: Study, trial: Trial) -> list[str]:
    from swath.study.export import values

    return ["–" if one is None else _number(one) for one in values(study, trial)]


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 1000 else f"{value:.6g}"


def _part(part: dict[str, Any]) -> str:
    told = ", ".join(f"{key} {value}" for key, value in part["options"].items())
    return f"{part['name']} ({told})" if told else str(part["name"])
