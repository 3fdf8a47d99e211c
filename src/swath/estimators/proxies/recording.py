"""Watch a network run: what its layers read and answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from swath.estimators.proxies.layers import WEIGHTED

__all__ = ["Enlargements", "Record", "bypassed", "recorded", "replaced"]


Arguments = tuple[Tensor, ...]
Named = Mapping[str, Tensor]


@dataclass
class Record:
    """What layers read and answered, by name, once for each time that they ran.

    ``modules`` are those that ran, since several may share the weight of the one that is named.
    """

    inputs: dict[str, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    outputs: dict[str, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    modules: dict[str, list[nn.Module]] = field(default_factory=lambda: defaultdict(list))
    order: list[str] = field(default_factory=list)
    versions: list[tuple[Tensor, int]] = field(default_factory=list)

    @property
    def overwritten(self) -> bool:
        """Whether an output was changed in place afterwards, and is no longer what it was."""
        return any(output._version != version for output, version in self.versions)


@contextmanager
def recorded(
    network: nn.Module,
    names: Iterable[str],
    *,
    inputs: bool = False,
    outputs: bool = False,
    codes: Mapping[str, Callable[[Tensor], None]] | None = None,
    copies: bool = False,
) -> Iterator[Record]:
    """Record the named layers within, each with those that share its weight.

    Parameters
    ----------
    codes : functions that are handed what the modules of their names read.
    copies : whether the network goes on with copies of the outputs, which it may overwrite.
    """
    record = Record()
    modules = dict(network.named_modules())
    sharing: dict[int, list[nn.Module]] = defaultdict(list)
    for module in modules.values():
        sharing[_identity(module)].append(module)

    def watch(name: str) -> Callable[..., Tensor | None]:
        def look(
            module: nn.Module, arguments: Arguments, named: Named, output: Tensor
        ) -> Tensor | None:
            record.order.append(name)
            record.modules[name].append(module)
            if inputs:
                record.inputs[name].append(_first(*arguments, **named))
            if outputs:
                record.outputs[name].append(output)
                record.versions.append((output, output._version))
            return output.clone() if copies else None

        return look

    def count(function: Callable[[Tensor], None]) -> Callable[..., None]:
        def look(module: nn.Module, arguments: Arguments, named: Named) -> None:
            function(_first(*arguments, **named))

        return look

    with ExitStack() as hooks:
        for name in names:
            for module in sharing[_identity(modules[name])]:
                handle = module.register_forward_hook(watch(name), with_kwargs=True)
                hooks.callback(handle.remove)
        for name, function in (codes or {}).items():
            before = modules[name].register_forward_pre_hook(count(function), with_kwargs=True)
            hooks.callback(before.remove)
        yield record


def _first(*arguments: Tensor, **named: Tensor) -> Tensor:
    """Return the first argument of a call, whether it has a name or not."""
    return arguments[0] if arguments else next(iter(named.values()))


def _identity(module: nn.Module) -> int:
    """Return a number that layers of one and the same weight have in common."""
    return id(module.weight) if isinstance(module, WEIGHTED) else id(module)


@contextmanager
def bypassed(network: nn.Module, kind: type[nn.Module]) -> Iterator[None]:
    """Let the modules of a kind pass on what they read; nothing is computed, nothing refused."""
    with ExitStack() as undo:
        for module in network.modules():
            if isinstance(module, kind):
                module.forward = _first
                undo.callback(delattr, module, "forward")
        yield


@contextmanager
def replaced(
    network: nn.Module, kind: type[nn.Module], function: Callable[[Tensor], Tensor]
) -> Iterator[None]:
    """Let the modules of a kind answer with a function of what they read."""
    with ExitStack() as hooks:
        for module in network.modules():
            if isinstance(module, kind):
                handle = module.register_forward_hook(
                    lambda _, arguments, named, __: function(_first(*arguments, **named)),
                    with_kwargs=True,
                )
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
