"""A network's graph of layers."""

from __future__ import annotations

from torch import fx, nn

__all__ = ["traced"]


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Keep layers whole, those of swath (:class:`~swath.networks.conv3d.Conv3d`) as torch's."""
        return isinstance(m, nn.Conv3d) or super().is_leaf_module(m, module_qualified_name)


def traced(network: nn.Module) -> fx.GraphModule:
    """Return the graph of a network; raise whatever its forward pass raises on proxies."""
    return fx.GraphModule(network, _Tracer().trace(network))
