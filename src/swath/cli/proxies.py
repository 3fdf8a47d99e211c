"""The command that lists zero-cost proxies."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swath.cli.output import facts, show, table

if TYPE_CHECKING:
    from swath.estimators.proxies.base import Proxy, Rule

__all__ = ["proxies"]


def proxies(
    name: Annotated[
        str | None, typer.Argument(help="Show this one in detail.", metavar="NAME")
    ] = None,
) -> None:
    """List the zero-cost proxies, or show one: how it is computed, what it needs, its source."""
    from swath.estimators import proxies as known

    if name is None:
        found = sorted(map(known.get, known.names()), key=lambda one: (_family(one), one.name))
        rows = [(one.name, _family(one), _good(one), _about(one.rule), one.source) for one in found]
        show(table(("proxy", "family", "good is", "what it is", "source"), rows))
        typer.echo("\n'swath proxies NAME' tells more, 'swath score' ranks architectures by them.")
        return
    from swath.estimators.proxies.base import NEEDS

    one = known.get(name)
    facts(
        [
            ("proxy", one.name),
            ("family", _family(one)),
            ("good is", _good(one)),
            ("labels", "needed" if one.labelled else "not needed"),
            ("source", one.source),
            *(("needs", NEEDS[need]) for need in sorted(one.needs)),
        ]
    )
    typer.echo("\n" + _documentation(one.rule))
    if one.authors is not None:
        typer.echo("\nVariant 'authors', as the code of HyTAS computes it:\n")
        typer.echo(_documentation(one.authors))
    if one.seg101 is not None:
        typer.echo("\nVariant 'seg101', as the code of SEG101 computes it:\n")
        typer.echo(_documentation(one.seg101))


def _family(one: Proxy) -> str:
    return _function(one.rule).__module__.rpartition(".")[2]


def _good(one: Proxy) -> str:
    return "large" if one.direction == "maximize" else "small"


def _function(rule: Rule) -> Any:
    return getattr(rule, "of_layer", None) or getattr(rule, "of_network", None)


def _documentation(rule: Rule) -> str:
    return inspect.getdoc(_function(rule)) or ""


def _about(rule: Rule) -> str:
    return _documentation(rule).partition("\n")[0].removeprefix("Return ").rstrip(".")
