"""What strategies share that look at zero-cost scores: whom they ask, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from swath.core.architecture import Architecture
from swath.core.errors import RecipeError
from swath.core.seeds import derive
from swath.estimators.ranking import rank_columns
from swath.estimators.scorers import Scorer

__all__ = ["Scoring", "score_names"]


@dataclass(frozen=True)
class Scoring:
    """A strategy that looks at scores, and is given who tells them apart from its options.

    A recipe names the scores; who computes or knows them follows from the study's estimator.
    """

    scorer: Scorer | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def score_names(self) -> tuple[str, ...]:
        """The scores that are looked at; without any, no scorer is needed."""
        raise NotImplementedError

    def with_scorer(self, scorer: Scorer) -> Self:
        """Return the same strategy, which asks this scorer.

        Raises
        ------
        UnknownName : the scorer has no such score.
        """
        scorer.directions(self.score_names)
        made = replace(self)
        object.__setattr__(made, "scorer", scorer)
        return made

    def ranks(self, architectures: Sequence[Architecture], seed: int) -> npt.NDArray[np.float64]:
        """Return (architectures, scores), the ranks by each score from 1, the best.

        All architectures of a study are scored with the same seed, so that their scores compare.

        Raises
        ------
        RecipeError : there is no scorer.
        """
        if self.scorer is None:
            raise RecipeError(
                f"the strategy asks for scores ({', '.join(self.score_names)}), but has no scorer; "
                "a study gives it one, or you do: strategy.with_scorer(...)"
            )
        names = self.score_names
        found = self.scorer.scores(architectures, names, derive(seed, "scores"))
        return rank_columns(found, self.scorer.directions(names))


def score_names(given: Any) -> tuple[str, ...]:
    """Return names as a tuple, each once, also where one alone was given as a text."""
    return tuple(dict.fromkeys([given] if isinstance(given, str) else given))
