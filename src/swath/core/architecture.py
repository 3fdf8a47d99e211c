"""An architecture is a value: one point of a search space, never a live module."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from swath.core.errors import InvalidArchitecture

__all__ = ["Architecture", "Gene", "Value"]

Value = str | int
"""What a gene may hold."""


@dataclass(frozen=True)
class Gene:
    """One decision of a search space: a name and the values it may take."""

    name: str
    choices: tuple[Value, ...]

    def index(self, value: Value) -> int:
        """Return the position of ``value``; raise :class:`InvalidArchitecture` if it is none."""
        try:
            return self.choices.index(value)
        except ValueError:
            allowed = ", ".join(map(str, self.choices))
            raise InvalidArchitecture(
                f"gene '{self.name}' cannot be {value!r}; it is one of: {allowed}"
            ) from None


@dataclass(frozen=True)
class Architecture:
    """An immutable, hashable choice of one value per gene, with a canonical JSON form.

    Parameters
    ----------
    space : the name of the search space it belongs to.
    genes : (gene name, value) pairs in the space's gene order.

    >>> a = Architecture("toy", (("depth", 4), ("operator", "skip")))
    >>> a["depth"], a.replace(depth=5)["depth"]
    (4, 5)
    >>> Architecture.from_json(a.to_json()) == a
    True
    """

    space: str
    genes: tuple[tuple[str, Value], ...]

    def __getitem__(self, gene: str) -> Value:
        for name, value in self.genes:
            if name == gene:
                return value
        raise KeyError(gene)

    def as_dict(self) -> dict[str, Value]:
        """Return gene values by name, in gene order."""
        return dict(self.genes)

    def replace(self, **changes: Value) -> Architecture:
        """Return a copy with other gene values (names with dots: ``replace(**{"a.b": 1})``)."""
        unknown = changes.keys() - dict(self.genes).keys()
        if unknown:
            raise InvalidArchitecture(f"'{sorted(unknown)[0]}' is no gene of space '{self.space}'")
        return Architecture(self.space, tuple((n, changes.get(n, v)) for n, v in self.genes))

    def to_json(self) -> str:
        """Return the canonical JSON form: the same architecture always gives the same text."""
        return json.dumps({"space": self.space, "genes": dict(self.genes)}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """Read :meth:`to_json`'s form; raise :class:`InvalidArchitecture` for anything else."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise InvalidArchitecture(f"not an architecture: {error}") from error
        return cls.from_dict(data)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Architecture:
        """Read the decoded form of :meth:`to_json`; refuse all else likewise."""
        if (
            not isinstance(data, Mapping)
            or not isinstance(data.get("space"), str)
            or not isinstance(data.get("genes"), Mapping)
        ):
            raise InvalidArchitecture(
                'an architecture is written {"space": name, "genes": {gene: value}}'
            )
        for gene, value in data["genes"].items():
            # A bool is an int to Python, but no choice of a gene.
            if not isinstance(gene, str) or type(value) not in (str, int):
                raise InvalidArchitecture(
                    f"gene '{gene}' of an architecture cannot be {value!r}: a gene holds a text or "
                    "a whole number"
                )
        return cls(data["space"], tuple(data["genes"].items()))

    @property
    def key(self) -> str:
        """A stable identifier: the first 16 hexadecimal digits of the SHA-256 of the JSON form."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]
