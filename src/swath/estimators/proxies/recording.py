"""Watch a network run: what its layers read and answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["Enlargements", "Record", "bypassed", "recorded", "replaced"]


@dataclass
class Record:
    """What layers read and answered, by name, once for each time that they ran."""

    inputs: dict[str, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    outputs: dict[str, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    order: list[str] = field(default_factory=list)


@contextmanager
def recorded(
    network: nn.Module,
    names: Iterable[str],
    *,
    inputs: bool = False,
    outputs: bool = False,
    codes: Mapping[str, Callable[[Tensor], None]] | None = None,
) -> Iterator[Record]:
    """Record the named layers within; hand the inputs of those in ``codes`` to their functions."""
    record = Record()
    modules = dict(network.named_modules())

    def watch(name: str) -> Callable[..., None]:
        def look(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
            record.order.append(name)
            if inputs:
                record.inputs[name].append(arguments[0])
            if outputs:
                record.outputs[name].append(output)

        return look

    def count(function: Callable[[Tensor], None]) -> Callable[..., None]:
        def look(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            function(arguments[0])

        return look

    with ExitStack() as hooks:
        for name in names:
            hooks.callback(modules[name].register_forward_hook(watch(name)).remove)
        for name, function in (codes or {}).items():
            hooks.callback(modules[name].register_forward_pre_hook(count(function)).remove)
        yield record


@contextmanager
def bypassed(network: nn.Module, kind: type[nn.Module]) -> Iterator[None]:
    """Let the modules of a kind pass on what they read.

    They still compute, with statistics that they keep, so that they refuse nothing.
    """
    modes = {module: module.training for module in network.modules() if isinstance(module, kind)}
    with ExitStack() as hooks:
        for module, training in modes.items():
            module.training = False
            handle = module.register_forward_hook(lambda module, arguments, _: arguments[0])
            hooks.callback(handle.remove)
            hooks.callback(setattr, module, "training", training)
        yield


@contextmanager
def replaced(
    network: nn.Module, kind: type[nn.Module], function: Callable[[Tensor], Tensor]
) -> Iterator[None]:
    """Let the modules of a kind answer with a function of what they read."""
    with ExitStack() as hooks:
        for module in network.modules():
            if isinstance(module, kind):
                handle = module.register_forward_hook(lambda _, arguments, __: function(*arguments))
                hooks.callback(handle.remove)
        yield


class Enlargements(TorchFunctionMode):
    """Watches what is interpolated within."""

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[Tensor, Tensor] | None = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the function; keep what it read and answered if it interpolates."""
        found = func(*args, **(kwargs or {}))
        if func is nn.functional.interpolate:
            self._last = args[0], found
        return found

    def undone(self, tensor: Tensor) -> Tensor:
        """Return what a tensor was interpolated from; itself where it was not."""
        return self._last[0] if self._last is not None and self._last[1] is tensor else tensor
