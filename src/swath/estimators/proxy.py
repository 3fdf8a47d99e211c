"""Zero-cost proxies as an estimator: a study may search by them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from swath import spaces
from swath.core import devices
from swath.core.architecture import Architecture
from swath.core.errors import Infeasible, RecipeError
from swath.core.evaluation import Cost, Direction, Evaluation
from swath.core.seeds import derive
from swath.estimators import proxies, registry
from swath.estimators.proxies.scoring import score
from swath.spaces.base import InputSpec, OutputSpec, SearchSpace

__all__ = ["BatchSource", "NetworkSource", "ProxyEstimator"]

OPTIONS = ("loss", "inputs", "signs", "variant", "chunks", "transform")
"""Of the scores, as :func:`swath.estimators.proxies.score` takes them."""

BatchSource = Callable[[int], tuple[Tensor, Tensor]]
"""Returns inputs and labels for a seed: a function that can be pickled."""

NetworkSource = Callable[[Architecture, int], nn.Module]
"""Returns the network to score for an architecture and a seed, such as one cut from a supernet."""


@registry.register("proxy")
@dataclass(frozen=True)
class ProxyEstimator:
    """Scores each architecture's untrained network by a zero-cost proxy.

    Parameters
    ----------
    space, space_options : the search space by name, and what it is created with.
    bands, classes : of the networks' inputs and answers.
    proxy : the one whose total is the score, and whose direction is the estimator's.
    metrics : further proxies, computed in the same passes, that an evaluation tells.
    options : of :func:`swath.estimators.proxies.score`: loss, inputs, signs, variant, chunks,
        transform.
    batch : makes the batch from a seed; None: random inputs and labels.
    samples, window : size of a random batch; 7 is the published patch of hytas.
    network : makes the networks; None: the space does, with fresh weights.
    device : as of :func:`swath.core.devices.pick`.

    Raises
    ------
    UnknownName : there is no such space or proxy.
    RecipeError : there is no such option, or sizes are not whole numbers from 1.
    """

    space: str
    bands: int
    classes: int
    proxy: str
    metrics: tuple[str, ...] = ()
    space_options: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    batch: BatchSource | None = None
    samples: int = 16
    window: int = 7
    network: NetworkSource | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in ("bands", "classes", "samples", "window"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise RecipeError(f"{name} must be a whole number of at least 1, not {value!r}")
        for option in self.options:
            if option not in OPTIONS:
                raise RecipeError(
                    f"proxies have no option '{option}'; they have: {', '.join(OPTIONS)}"
                )
        for name in (self.proxy, *self.metrics):
            proxies.get(name)
        self._space()

    @property
    def direction(self) -> Direction:
        """The proxy's."""
        return proxies.get(self.proxy).direction

    @property
    def directions(self) -> dict[str, Direction]:
        """Which way each of the further proxies is good."""
        return {name: proxies.get(name).direction for name in self.metrics}

    @property
    def budgets(self) -> tuple[int, ...]:
        """A proxy has but one."""
        return ()

    def cost(self, architecture: Architecture) -> Cost:
        """Return parameters, and operations for one sample."""
        sizes = score(self._network(architecture, 0), self._batch(0), ("parameters", "flops"))
        return Cost(int(sizes["parameters"].total), int(sizes["flops"].total))

    def evaluate(
        self, architecture: Architecture, *, budget: int | None = None, seed: int = 0
    ) -> Evaluation:
        """Score an architecture.

        All architectures have the same batch for the same seed.

        Parameters
        ----------
        budget : there is none but None.
        seed : of the weights, the batch and whatever else is drawn.

        Returns
        -------
        The proxy's total; ``metrics`` holds the totals of the others, and the parts of the score
        as "proxy/attention" and so on.

        Raises
        ------
        Infeasible : the memory is not enough.
        RecipeError : a budget was asked for.
        InvalidArchitecture : it is none of the space's.
        """
        if budget is not None:
            raise RecipeError(f"a proxy has no budgets, so not {budget}")
        begun = time.perf_counter()
        names = (self.proxy, *self.metrics, "parameters", "flops")
        try:
            found = score(
                self._network(architecture, seed),
                self._batch(seed),
                names,
                seed=derive(seed, "proxy"),
                **self.options,
            )
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and "memory" not in str(error):
                raise
            raise Infeasible(f"out of memory on {devices.pick(self.device)}") from error
        parts = found[self.proxy].parts
        return Evaluation(
            found[self.proxy].total,
            self.direction,
            Cost(
                int(found["parameters"].total),
                int(found["flops"].total),
                time.perf_counter() - begun,
            ),
            {
                **{name: found[name].total for name in self.metrics},
                **{f"{self.proxy}/{part}": value for part, value in parts.items()},
            },
        )

    def _space(self) -> SearchSpace:
        return spaces.create(self.space, **self.space_options)

    def _network(self, architecture: Architecture, seed: int) -> nn.Module:
        space = self._space()
        space.validate(architecture)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "network"))
            if self.network is not None:
                network = self.network(architecture, seed)
            else:
                network = space.build(architecture, InputSpec(self.bands), OutputSpec(self.classes))
        return network.to(devices.pick(self.device))

    def _batch(self, seed: int) -> tuple[Tensor, Tensor]:
        if self.batch is not None:
            return self.batch(seed)
        generator = torch.Generator().manual_seed(derive(seed, "batch"))
        pixels = (self.window, self.window)
        x = torch.randn((self.samples, self.bands, *pixels), generator=generator)
        labelled = pixels if self._space().answers == "pixels" else ()
        return x, torch.randint(self.classes, (self.samples, *labelled), generator=generator)
