"""The networks of HyTAS's tables, untrained, and what they read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from _data import data_folder
from torch import Tensor, nn

from swath.core.architecture import Architecture
from swath.core.seeds import derive, numpy_generator
from swath.data.scaling import fit_scaling
from swath.data.scene import Scene
from swath.estimators.proxies.layers import fusion_parameters
from swath.spaces.base import InputSpec, OutputSpec
from swath.spaces.hytas import HyTAS
from swath.supernets import create_elastic
from swath.supernets.elastic import Elastic
from swath.tasks.label_patches import patches_around

__all__ = ["ALL", "SCENES", "SEED", "Of", "batch", "network"]

SEED = 0


@dataclass(frozen=True)
class Of:
    """A scene: its title, and what its networks read and answer."""

    title: str
    bands: int
    classes: int
    group: int

    @property
    def space(self) -> HyTAS:
        return HyTAS(group=self.group)

    @property
    def specs(self) -> tuple[InputSpec, OutputSpec]:
        return InputSpec(self.bands), OutputSpec(self.classes)


SCENES = {
    "indian": Of("Indian Pines", 200, 16, 3),
    "houston": Of("Houston", 144, 15, 3),
    "pavia": Of("Pavia University", 103, 9, 7),
}
ALL = SCENES | {"ksc": Of("KSC", 176, 13, 1), "salinas": Of("Salinas", 204, 16, 3)}


@cache
def supernet(scene: str, weights: str, seed: int) -> Elastic:
    """Return the shared weights of all networks of a scene: the authors', or of our own."""
    of = ALL[scene]
    if weights == "authors":
        return create_elastic(of.space, *of.specs, order="authors", seed=SEED).eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "supernet"))
        return create_elastic(of.space, *of.specs).eval()


def network(
    scene: str,
    architecture: Architecture,
    weights: str,
    seed: int = SEED,
    fusions: int | None = None,
) -> nn.Module:
    """Return an untrained network on shared weights, or ("fresh") on weights of its own.

    ``seed`` is that of a supernet of our own, ``fusions`` that of the one whose fusions stand in
    place of its.
    """
    if weights != "fresh":
        made = supernet(scene, weights, seed).extract(architecture)
        if fusions not in (None, seed):
            other = network(scene, architecture, weights, fusions)
            for name in fusion_parameters(made):
                if "fusions." in name:
                    made.get_parameter(name).data.copy_(other.get_parameter(name))
        return made
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(SEED, "network"))
        return SCENES[scene].space.build(architecture, *SCENES[scene].specs)


# Of Houston's classes, the one whose spectra each class of Pavia University gets.
LIKE = (9, 1, 5, 4, 8, 5, 12, 7, 6)
CASI, ROSIS = (380.0, 1050.0), (430.0, 860.0)  # nanometres, first and last band


def simulated_pavia(folder: Path) -> Scene:
    """Return Pavia University's real label map, painted with Houston's real spectra."""
    from scipy.io import loadmat

    from swath.data.readers import open_labels
    from swath.data.simulate import simulate_scene
    from swath.data.spectral_library import SpectralLibrary

    spectra = loadmat(folder / "houston2013" / "HSI_TrSet.mat")["HSI_TrSet"].astype(np.float64)
    found = loadmat(folder / "houston2013" / "TrLabel.mat")["TrLabel"].ravel()
    waves, wanted = np.linspace(*CASI, spectra.shape[1]), np.linspace(*ROSIS, 103)
    resampled = np.array([np.interp(wanted, waves, one) for one in spectra])
    picked = [np.flatnonzero(found == like) for like in LIKE]
    classes = np.repeat(np.arange(len(LIKE)), [len(one) for one in picked])
    library = SpectralLibrary.from_spectra(resampled[np.concatenate(picked)], classes)
    labels = open_labels(folder / "gt_maps" / "PaviaU_gt.mat")
    return simulate_scene(labels, library, seed=SEED, name="pavia-university-simulated")


def image(scene: str) -> tuple[Tensor, npt.NDArray[np.int64]]:
    """Return a simulated scene (bands, rows, columns), each band from 0 to 1, and its labels."""
    from swath.data.simulate import simulate_houston, simulate_indian_pines

    folder = data_folder()
    make = {"indian": simulate_indian_pines, "houston": simulate_houston, "pavia": simulated_pavia}
    made = make[scene](folder)
    assert made.labels is not None
    pixels = fit_scaling(made, "minmax").apply(made.read())
    return torch.from_numpy(pixels).permute(2, 0, 1), made.labels.values


@cache
def batch(scene: str, draw: int = 0) -> tuple[Tensor, Tensor]:
    """Return the patch around one pixel of each class, and the classes."""
    pixels, labels = image(scene)
    rng = numpy_generator(SEED, "pixels", scene, draw)
    places = [rng.choice(np.argwhere(labels == c)) for c in range(SCENES[scene].classes)]
    return patches_around(pixels, np.array(places), 7), torch.arange(len(places))
