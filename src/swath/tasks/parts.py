"""Parts of a set of whole images, patches or tiles: what trains, what validates, what tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from swath.core.errors import SplitError

__all__ = ["FAIR", "HALVINGS", "PARTS", "TRIES", "Parts", "arranged"]

Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

PARTS = ("train", "validation", "test")
HALVINGS = 4  # sizes of blocks tried, each half the one before, until
TRIES = 50  # one of so many arrangements gives
FAIR = 0.5  # of what is due to it to each class in each part


@dataclass(frozen=True, eq=False)
class Parts:
    """The training, validation and test members of a set.

    Parameters
    ----------
    protocol : how they were chosen.
    train, validation, test : bool (members,), disjoint, none of them empty.
    seed : what the draw was made with.
    description : one plain sentence that names the protocol and what it means.
    notes : what is left unused, and leaks or gaps that are known.

    Raises
    ------
    SplitError : two parts share a member, or one is empty.
    """

    protocol: str
    train: Mask
    validation: Mask
    test: Mask
    seed: int
    description: str
    notes: tuple[str, ...] = ()

    unit: ClassVar[str]
    """What a member is called."""

    def __post_init__(self) -> None:
        together = self.train.astype(int) + self.validation + self.test
        if (together > 1).any():
            member = int(np.flatnonzero(together > 1)[0])
            raise SplitError(f"{self.unit} {member} is in two parts of the split; give each to one")
        for name in PARTS:
            if not getattr(self, name).any():
                raise SplitError(f"the {self.protocol} split leaves no {name} {self.unit}")


def arranged(blocks: Ints, due: list[float], rng: np.random.Generator) -> list[Mask]:
    """Give blocks in random order to the part that lacks most of its due.

    Parameters
    ----------
    blocks : (members,), the number of each one's block, from 0.
    due : share of the members for each part.

    Returns
    -------
    bool (members,) for each part.
    """
    sizes = np.bincount(blocks)
    lacking = np.array(due) * len(blocks)
    part_of = np.empty(len(sizes), np.int64)
    for number in rng.permutation(len(sizes)):
        part_of[number] = lacking.argmax()
        lacking[part_of[number]] -= sizes[number]
    return [part_of[blocks] == part for part in range(len(due))]
