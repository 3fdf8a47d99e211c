"""What passes over a network gathered: the only thing proxies look at."""

from __future__ import annotations

import functools
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from swath.core.errors import MismatchError
from swath.estimators.proxies.layers import LayerKind
from swath.estimators.proxies.numerics import gram, log_determinant, pieces, rows
from swath.estimators.proxies.sample_gradients import sample_gradients

__all__ = ["Codes", "Evidence", "Flow", "Layer", "Noise", "Perturbation", "Shape", "counting"]


@dataclass(frozen=True)
class Flow:
    """A layer's weight in the data-free pass, and the gradient of the sum of all logits in it."""

    weight: Tensor
    gradient: Tensor


@dataclass(frozen=True)
class Perturbation:
    """What a layer is, answers and gets as gradient when weights and inputs are disturbed."""

    weight: Tensor
    outputs: tuple[Tensor, ...]
    gradient: Tensor


@dataclass
class Layer:
    """A scored layer.  What was not asked for is not set.

    Parameters
    ----------
    parameter : the name of its weight among those of the network.
    inputs, outputs : (samples, ...) of each time it ran, most often once.
    modules : which ran each time: itself, or another that has the same weight.
    gradient, curvature : the loss's gradient in the weight; the Hessian times it.
    slopes, logit_slopes : gradient in each of ``outputs`` of the loss, of the sum of all logits.
    chunks : the layer as each chunk of the batch saw it, where the batch is cut into chunks.
    """

    name: str
    kind: LayerKind
    module: nn.Module
    parameter: str
    weight: Tensor
    samples: int = 0
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    modules: tuple[nn.Module, ...] = ()
    slopes: tuple[Tensor, ...] = ()
    logit_slopes: tuple[Tensor, ...] = ()
    chunks: tuple[Layer, ...] = ()
    gradient: Tensor = field(init=False)
    curvature: Tensor = field(init=False)
    flow: Flow = field(init=False)
    perturbation: Perturbation = field(init=False)

    @property
    def sample_gradients(self) -> Tensor:
        """Every sample's share in the loss's gradient: (samples, weights)."""
        return self._sample_gradients["slopes"]

    @property
    def sample_logit_gradients(self) -> Tensor:
        """Every sample's share in the gradient of the sum of all logits: (samples, weights)."""
        return self._sample_gradients["logit_slopes"]

    @cached_property
    def _sample_gradients(self) -> dict[str, Tensor]:
        """Both, where both are asked for, since they take the same preparation."""
        known = {"slopes": self.slopes, "logit_slopes": self.logit_slopes}
        if not self.inputs:  # it never ran
            return dict.fromkeys(known, self.weight.new_zeros(self.samples, self.weight.numel()))
        kinds = [kind for kind, slopes in known.items() if slopes]
        parts = [
            sample_gradients(
                module,
                self._checked(read),
                [known[kind][use] for kind in kinds],
                in_order=len(self.inputs) > 1,
            )
            for use, (module, read) in enumerate(zip(self.modules, self.inputs, strict=True))
        ]
        return {
            kind: functools.reduce(torch.add, several)
            for kind, several in zip(kinds, zip(*parts, strict=True), strict=True)
        }

    @property
    def sample_outputs(self) -> tuple[Tensor, ...]:
        """The outputs, for those who compare samples.

        Raises
        ------
        MismatchError : their first dimension is another than that of samples.
        """
        return tuple(self._checked(output, "answers") for output in self.outputs)

    def _checked(self, values: Tensor, verb: str = "reads") -> Tensor:
        # One row is for all samples, such as what is made of positions; it has no share in each.
        if len(values) not in ({self.samples} if verb == "reads" else {1, self.samples}):
            raise _mismatch("layer", self.name, f"{verb} {len(values)}", self.samples)
        return values

    def forget(self) -> None:
        """Free the samples' gradients, each as large as the layer times the number of samples."""
        self.__dict__.pop("_sample_gradients", None)


class Codes:
    """Which units of a nonlinearity are active, kept as how often two samples agree in them.

    ``agreement`` float64 (samples, samples): units in which both are active, or neither.
    """

    def __init__(self, samples: int) -> None:
        self.agreement = torch.zeros(samples, samples, dtype=torch.float64)
        self.units = 0

    def add(self, values: Tensor) -> None:
        """Count a tensor (samples, ...) whose units are active where it is positive."""
        read = rows(values.detach())
        units = read.shape[1]
        both = torch.zeros(len(read), len(read), device=read.device)
        # Of both active, and each active, follows how often both are not.  The counts are exact in
        # float32 up to 16 million units.
        for (some,) in pieces(read):
            code = some.clamp(min=0).sign_().float()  # faster than to compare
            both += gram(code)
        both = both.double()
        active = both.diagonal()
        self.agreement = self.agreement.to(both.device) + 2 * both + units
        self.agreement -= active[:, None] + active
        self.units += units

    def join(self, other: Codes) -> None:
        """Count the units of others, too."""
        self.agreement = self.agreement.to(other.agreement.device) + other.agreement
        self.units += other.units

    @property
    def log_determinant(self) -> Tensor:
        """The logarithm of the agreement's determinant."""
        return log_determinant(self.agreement)


def counting(codes: Mapping[str, Codes]) -> dict[str, Callable[[Tensor], None]]:
    """Return functions that count what each nonlinearity reads.

    What several of them read, as all edges that leave a node of a cell do, is compared once.
    """
    known: dict[int, tuple[weakref.ref[Tensor], int, Codes]] = {}

    def count(name: str, values: Tensor) -> None:
        one = codes[name]
        if len(values) not in (1, len(one.agreement)):
            reads = f"reads {len(values)}"
            raise _mismatch("nonlinearity", name, reads, len(one.agreement))
        held = known.get(id(values))
        if held is None or held[0]() is not values or held[1] != values._version:
            found = Codes(len(one.agreement))
            found.add(values)
            held = known[id(values)] = weakref.ref(values), values._version, found
        one.join(held[2])

    return {name: functools.partial(count, name) for name in codes}


def _mismatch(kind: str, name: str, does: str, samples: int) -> MismatchError:
    return MismatchError(
        f"{kind} '{name}' {does} rows for {samples} samples; "
        "proxies that compare samples need them along the first dimension"
    )


@dataclass(frozen=True)
class Noise:
    """How a network of random weights answers random inputs.

    Parameters
    ----------
    features, disturbed : what arrives at the last pooling or layer, of an input and of the same
        with a little noise added.
    variances : of what each normalisation reads, each time that it runs: the mean over its groups,
        by its name.
    """

    features: Tensor
    disturbed: Tensor
    variances: dict[str, list[float]]


@dataclass(frozen=True)
class Shape:
    """The outline of a network.

    Parameters
    ----------
    parameters : all of them.
    flops : of one sample, where a multiply-add counts as two.
    depth : scored layers on the longest chain of them.
    width : mean output channels of the scored layers that run.
    """

    parameters: int
    flops: int
    depth: int
    width: float


@dataclass
class Evidence:
    """All that was gathered.  What was not asked for is not set.

    Parameters
    ----------
    jacobian : gradient of the sum of all logits in the input, (samples, values).
    push : gradient of the loss in the input, shaped as the batch.
    codes : of each nonlinearity, by its name.
    seconds : what each stage of gathering took.
    """

    layers: list[Layer]
    targets: Tensor | None = None
    jacobian: Tensor = field(init=False)
    push: Tensor = field(init=False)
    codes: dict[str, Codes] = field(default_factory=dict)
    noise: Noise = field(init=False)
    shape: Shape = field(init=False)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Measure a stage, to the end of what it started on an accelerator."""
        begun = time.perf_counter()
        yield
        for device in {layer.weight.device for layer in self.layers}:
            if device.type == "cuda":
                torch.cuda.synchronize(device)
        self.seconds[stage] = time.perf_counter() - begun
