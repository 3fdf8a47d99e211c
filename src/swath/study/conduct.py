"""From a recipe to a study: make its parts, run it in its folder, open it again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from swath.core.errors import RecipeError, RunError
from swath.core.files import expanded, write_text
from swath.study import studies
from swath.study.backends import PathLike, is_url, journal_path, reading
from swath.study.run import RunFolder
from swath.study.settings import load_recipe
from swath.study.store import load, names
from swath.study.studies import Study
from swath.study.study_recipe import StudyRecipe, resolve_study

__all__ = ["find_studies", "open_study", "run_study", "studies_at", "study_places"]

Progress = Callable[[dict[str, Any]], None]


def run_study(
    recipe: PathLike | Mapping[str, Any] | None = None,
    *,
    out: PathLike | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    overrides: Sequence[str] = (),
    progress: Progress | None = None,
    **settings: Any,
) -> Study:
    """Run the study of a recipe, or continue it: the same call resumes.

    >>> study = swath.run_study("study-nasbench201-npenas", out="study")   # doctest: +SKIP
    >>> study.best.evaluation.score, study.best.architecture.as_dict()     # doctest: +SKIP

    Parameters
    ----------
    recipe : a file, the name of one that comes with swath, or its keys.
    out : the run folder; None: nothing is written, unless the recipe's ``store`` is a database.
    workers, scheduler, progress : see :func:`swath.study.studies.run_study`.
    overrides : "section.key=value", over everything else.
    settings : keys of the recipe, such as ``trials=150``, ``seed=1``, ``strategy="random"``; None
        leaves them as the recipe has them.

    Raises
    ------
    SwathError : what was given cannot be used; the message says what and how to go on.
    """
    resolved = _resolved(recipe, settings, overrides)
    if resolved.trials < 1:
        raise RecipeError(
            f"a study of {resolved.trials} trials has nothing to do; ask for at least one"
        )
    from swath.study.parts import make_parts

    if out is not None:
        begun = _as_begun(RunFolder(expanded(out)), resolved)
        RunFolder.check(out, begun)
    # Names, options and files are looked at before anything is written.
    parts = make_parts(resolved, progress)
    go = functools.partial(
        studies.run_study,
        parts.space,
        parts.strategy,
        parts.estimator,
        trials=resolved.trials,
        seed=resolved.seed,
        objectives=parts.objectives,
        constraints=resolved.limits(),
        name=resolved.name,
        workers=workers,
        scheduler=scheduler,
        facts=parts.facts,
        progress=progress,
    )
    if out is None:
        return go(store=resolved.store)
    folder = RunFolder.create(out, begun)
    with folder.lock(), folder.failures():
        if begun != resolved.to_yaml():
            write_text(folder.recipe, resolved.to_yaml())
        return go(store=resolved.store or folder.path)


def open_study(store: PathLike, name: str | None = None) -> Study:
    """Open a study to look at it, finished or not, also while it runs.

    Parameters
    ----------
    store : its run folder, its journal, or the URL of its database.
    name : of the study, where a database holds several.

    Raises
    ------
    RunError : there is none, it is of another version, or the store cannot be read.
    """
    where, known = _place(store)
    found, facts, records = load(where, name or known)
    return Study(found, where, facts, tuple(records))


def find_studies(store: PathLike) -> list[tuple[PathLike, str]]:
    """Return (store, name) of the studies in a folder, the folders in it, or a database.

    The study of a run folder whose recipe names a database is in that database.

    Raises
    ------
    RunError : there is no such folder or database, or one of them cannot be read.
    """
    found = [one for place in study_places(store) for one in studies_at(place)]
    return list(dict.fromkeys(found))


def study_places(store: PathLike) -> list[PathLike]:
    """Return the database, or those of a folder and the folders in it that may have studies.

    Nothing is read but whether there is a journal or a recipe.

    Raises
    ------
    RunError : there is no such folder.
    """
    if is_url(store):
        return [store]
    folder = expanded(store)
    if not folder.exists():
        raise RunError(f"there is no folder {store}")
    below = sorted(one for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []
    return [
        place
        for place in [folder, *below]
        if journal_path(place).is_file()
        or journal_path(place / "search").is_file()
        or (place / "recipe.yaml").is_file()
    ]


def studies_at(place: PathLike) -> list[tuple[PathLike, str]]:
    """Return (store, name) of the studies of one database or run folder; none of other folders.

    Raises
    ------
    RunError : it cannot be read.
    """
    where, name = _place(place)
    if name is not None:
        return [(where, name)]
    if not is_url(where) and not journal_path(where).is_file():
        return []
    return [(where, one) for one in sorted(names(where))]


def _resolved(
    recipe: PathLike | Mapping[str, Any] | None,
    settings: Mapping[str, Any],
    overrides: Sequence[str],
) -> StudyRecipe:
    layers: list[Mapping[str, Any]] = []
    if recipe is not None:
        layers.append(recipe if isinstance(recipe, Mapping) else load_recipe(Path(recipe)))
    layers.append({key: value for key, value in settings.items() if value is not None})
    return resolve_study(*layers, overrides=overrides)


def _as_begun(folder: RunFolder, recipe: StudyRecipe) -> str:
    """Return the recipe as the folder may have it: of a study with trials, only their number
    may change; of one that came to none, everything.
    """
    if not folder.recipe.is_file():
        return recipe.to_yaml()
    before = load_recipe(folder.recipe)
    if "estimator" in before and before.get("store") is None and not _has_trials(folder.path):
        return folder.recipe.read_text(encoding="utf-8")
    trials = before.get("trials")
    same = recipe.model_copy(update={"trials": trials}) if isinstance(trials, int) else recipe
    return same.to_yaml()


def _has_trials(folder: Path) -> bool:
    if not journal_path(folder).is_file():
        return False
    storage = reading(folder)
    return any(storage.get_n_trials(one._study_id) for one in storage.get_all_studies())


def _place(store: PathLike) -> tuple[PathLike, str | None]:
    """Return where a run folder's study is kept, and its name where the folder tells."""
    recipe = expanded(store) / "recipe.yaml"
    if is_url(store) or journal_path(store).is_file():
        return store, None
    searched = expanded(store) / "search"  # of a run that searches by trials, then trains and maps
    if journal_path(searched).is_file():
        return searched, None
    if not recipe.is_file():
        return store, None
    try:
        data = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RunError(f"cannot read {recipe}: {error}") from error
    url = data.get("store") if isinstance(data, dict) else None
    return (url, data.get("name")) if isinstance(url, str) else (store, None)
