"""Commands that list what there is: spaces, strategies, estimators and recipes."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Mapping
from dataclasses import asdict
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swath.cli.output import facts, show, table

if TYPE_CHECKING:
    from swath.core.registry import Registry

__all__ = ["estimators", "recipes", "spaces", "strategies"]

recipes = typer.Typer(
    help="Recipes that come with swath.", invoke_without_command=True, no_args_is_help=False
)


def spaces(
    name: Annotated[
        str | None, typer.Argument(help="Show this one in detail.", metavar="NAME")
    ] = None,
) -> None:
    """List the search spaces, or show one: its genes, operators and options."""
    from swath import spaces as registered

    if name is None:
        rows = []
        for one in registered.names():
            space = registered.create(one)
            about = _about(registered.registry, one)
            rows.append((one, f"{space.size():.4g}", str(len(space.genes)), about))
        show(table(("space", "architectures", "genes", "what it is"), rows, right=(1, 2)))
        typer.echo("\n'swath spaces NAME' shows genes and options.")
        return
    space = registered.create(name)
    typer.echo(_about(registered.registry, name) + "\n")
    operators = getattr(space, "operators", ())
    facts(
        [
            ("architectures", f"{space.size():.4g}"),
            ("genes", str(len(space.genes))),
            *([("operators", ", ".join(operators))] if operators else []),
        ]
    )
    typer.echo()
    genes = [(one.name, str(len(one.choices)), _choices(one.choices)) for one in space.genes]
    show(table(("gene", "choices", ""), genes, right=(1,)))
    typer.echo("\noptions (--set space.options.NAME=VALUE)\n")
    show(table(("option", "default"), [(key, str(v)) for key, v in space.options.items()]))


_WITH_SUPERNET = {
    "differentiable": "weights and choices learned together (3D-ANAS; hsi3d alone)",
    "fairnas": "one-shot: each update trains every operator of a gene equally often (FairNAS)",
    "se-nas": "one-shot: the space shrinks in stages, the supernet expands (SE-NAS)",
    "spos": "one-shot: each update trains an architecture drawn uniformly (SPOS)",
}
"""Strategies that train one supernet instead of a network a trial."""


def strategies(
    name: Annotated[
        str | None, typer.Argument(help="Show this one in detail.", metavar="NAME")
    ] = None,
) -> None:
    """List the strategies of a search, or show one: its options."""
    from swath import strategies as registered

    if name is None:
        of_trials = [
            (one, "trials", _about(registered.registry, one)) for one in registered.names()
        ]
        others = [(one, "a supernet", about) for one, about in _WITH_SUPERNET.items()]
        show(table(("strategy", "judges by", "what it is"), sorted(of_trials + others)))
        typer.echo(
            "\n'swath strategies NAME' shows its options; 'swath search --strategy NAME' uses it."
        )
    elif name in _WITH_SUPERNET:
        _show_supernet_strategy(name)
    else:
        from swath.study.study_section import require_strategy

        require_strategy(name)
        _show_parts(registered.registry, name, "swath strategies NAME", "study.strategy.options")


def _show_supernet_strategy(name: str) -> None:
    """Show the settings of a strategy with a supernet and their defaults."""
    typer.echo(f"{name}: {_WITH_SUPERNET[name]}\n")
    if name == "differentiable":
        from swath.strategies.differentiable import DifferentiableSettings

        typer.echo(inspect.getdoc(DifferentiableSettings))
        typer.echo("\noptions (--set search.NAME=VALUE)\n")
        show(table(("option", "default"), _flat(asdict(DifferentiableSettings()))))
        return
    from swath.strategies.one_shot_settings import OneShotSettings, Shrinking
    from swath.study.one_shot_section import OneShotSection, fitted_one_shot, with_strategy
    from swath.supernets.training import SupernetTraining
    from swath.training.loop import TrainingSettings

    given = with_strategy({"strategy": name})
    training = SupernetTraining(**given.get("training", {}))
    shrinking = Shrinking() if "shrinking" in given else None
    parts = [OneShotSettings, OneShotSection, SupernetTraining, *([Shrinking] if shrinking else [])]
    for part in parts:
        typer.echo(f"{inspect.getdoc(part)}\n")
    settings = asdict(OneShotSection(strategy=name, training=training, shrinking=shrinking))
    fitted = dict(_flat(fitted_one_shot(name, TrainingSettings()))).keys() - dict(_flat(given))
    rows = [
        (key, value, "fitted" if key in fitted else "")
        for key, value in _flat(settings)
        if key != "strategy"
    ]
    typer.echo("options (--set one_shot.NAME=VALUE)\n")
    show(table(("option", "default", "with --strategy"), rows))
    typer.echo(
        "\nDefaults are the published values, where there are any. 'fitted': --strategy gives a "
        "value\nthat suits the recipe's training; the run's recipe.yaml has them all."
    )


def _flat(settings: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Return (key, value) of nested settings, keys joined by dots."""
    rows: list[tuple[str, str]] = []
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            rows += _flat(value, f"{before}{key}.")
        else:
            rows.append((before + key, repr(value)))
    return rows


def estimators(
    name: Annotated[
        str | None, typer.Argument(help="Show this one in detail.", metavar="NAME")
    ] = None,
) -> None:
    """List the estimators of a study, or show one: its options."""
    from swath import estimators as registered

    _show_parts(registered.registry, name, "swath estimators NAME", "estimator.options")


def _show_parts(registry: Registry[Any], name: str | None, command: str, key: str) -> None:
    """List what is registered, or show the options of one and their defaults."""
    if name is None:
        rows = [(one, _about(registry, one)) for one in registry.names()]
        show(table((registry.kind, "what it is"), rows))
        typer.echo(f"\n'{command}' shows its options.")
        return
    known = inspect.signature(registry.get(name)).parameters.values()
    options = [one for one in known if one.kind is not one.VAR_KEYWORD]
    typer.echo(inspect.getdoc(registry.get(name)) or "")
    typer.echo(f"\noptions ({key})\n")
    show(table(("option", "default"), [(one.name, _default_of(one)) for one in options]))


def _default_of(option: inspect.Parameter) -> str:
    if option.default is option.empty:
        return "(needed)"
    return repr(option.default) if isinstance(option.default, _PLAIN) else "(its own)"


_PLAIN = (str, int, float, bool, tuple, type(None))


@recipes.callback()
def _default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_recipes()


@recipes.command("list")
def list_recipes() -> None:
    """List the recipes."""
    folder = resources.files("swath") / "recipes"
    rows = []
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        if file.name.endswith(".yaml"):
            rows.append((file.name.removesuffix(".yaml"), _first_sentence(file.read_text("utf-8"))))
    show(table(("recipe", "what it is"), rows))
    typer.echo(
        "\n'swath recipes show NAME' prints one; 'swath search NAME ...' runs it, or "
        "'swath study run NAME ...' one that begins with study-."
    )


def _first_sentence(recipe: str) -> str:
    """Return what the comment at the top of a recipe says first."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), recipe.splitlines())
    words = " ".join(line.lstrip("# ") for line in lines)
    return re.split(r"(?<=[a-z)'])[.;] +", words)[0].rstrip(".")


@recipes.command("show")
def show_recipe(
    name: Annotated[str, typer.Argument(help="A recipe's name, or a YAML file.", metavar="NAME")],
) -> None:
    """Print a recipe with every default written out: a file to start from."""
    from swath.study.settings import load_recipe

    keys = load_recipe(name)
    if "estimator" in keys:
        from swath.study.study_recipe import resolve_study

        typer.echo(resolve_study(keys).to_yaml(), nl=False)
        return
    from swath.study.recipes import resolve

    typer.echo(resolve(keys).to_yaml(), nl=False)


def _about(registry: Registry[Any], name: str) -> str:
    """Return the first line of what an entry says of itself, without the marks of its markup."""
    line = (inspect.getdoc(registry.get(name)) or "").partition("\n")[0]
    return line.removeprefix("Return ").replace("``", "")


def _choices(choices: tuple[object, ...], most: int = 6) -> str:
    words = [str(one) for one in choices[:most]]
    return "  ".join(words) + (f"  and {len(choices) - most} more" if len(choices) > most else "")
