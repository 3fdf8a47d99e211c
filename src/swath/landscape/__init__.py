"""The landscape of a search problem: fitness over the graph of neighbouring architectures.

Its measures are those of the fitness landscape footprint (Traoré, Camero, Zhu, arXiv 2111.01584)
and their exact counterparts where the whole landscape is known; on any space, source of fitness and
neighbourhood.

>>> from swath import landscape
>>> from swath.estimators.tables import load_table
>>> ground = landscape.of_table(load_table("nas_bench_macro"))  # doctest: +SKIP
>>> landscape.footprint(ground).measures["ruggedness"]  # doctest: +SKIP
"""

from __future__ import annotations

from swath.landscape.fitness import Landscape, of_mapping, of_study, of_table
from swath.landscape.footprint import Footprint, footprint, read_footprints, write_footprints
from swath.landscape.measure import Measure
from swath.landscape.sources import open_landscapes

__all__ = [
    "Footprint",
    "Landscape",
    "Measure",
    "footprint",
    "of_mapping",
    "of_study",
    "of_table",
    "open_landscapes",
    "read_footprints",
    "write_footprints",
]
