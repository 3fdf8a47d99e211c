"""The most memory that each phase of a run held."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from swath.core.errors import RunError
from swath.core.memory import peak_mib, reset_peak
from swath.study.run import RunFolder

if TYPE_CHECKING:
    import torch

__all__ = ["PhaseMemory"]

_HOST, _DEVICE = "peak_memory_mib", "peak_device_memory_mib"


class PhaseMemory:
    """Peak memory of a run's phases, kept in its log so that a resumed run knows it.

    Of a phase that several processes worked on, the most of them counts; one that was killed in
    the middle left no figure.  Workers of a search are not counted.

    Parameters
    ----------
    device : of a GPU, the most that torch allocated there is kept as well.
    """

    def __init__(self, folder: RunFolder, device: torch.device) -> None:
        self._folder = folder
        self._device = device
        self._highest = peak_mib()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what is inside as a phase, also where it ends by an error or is stopped."""
        self._highest = max(self._highest, peak_mib())
        separate = reset_peak()
        if self._device.type == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)
        try:
            yield
        except BaseException:
            with contextlib.suppress(RunError):  # what ended the phase is to be told, not this
                self._keep(name, separate)
            raise
        self._keep(name, separate)

    def figures(self) -> dict[str, Any]:
        """Return what ``metrics.json`` says, in MiB.

        ``NAME_peak_memory_mib`` of each phase and, of a GPU, ``NAME_peak_device_memory_mib``;
        ``peak_memory_mib`` of all; and ``peak_memory_by_phase``: False where the system counts
        from the begin of the process alone, so that a phase's figure may be that of an earlier one.
        """
        found: dict[str, Any] = {}
        events = self._folder.events("phase")
        for event in events:
            for key in (_HOST, _DEVICE):
                if key in event:
                    name = f"{event['name']}_{key}"
                    found[name] = max(event[key], found.get(name, 0.0))
        highest = max([self._highest, peak_mib(), *(event[_HOST] for event in events)])
        by_phase = all(event["separate"] for event in events)
        return found | {_HOST: highest, "peak_memory_by_phase": by_phase}

    def _keep(self, name: str, separate: bool) -> None:
        figures = {_HOST: peak_mib()}
        if self._device.type == "cuda":
            import torch

            figures[_DEVICE] = torch.cuda.max_memory_allocated(self._device) / 2**20
        self._folder.log("phase", name=name, separate=separate, **figures)
