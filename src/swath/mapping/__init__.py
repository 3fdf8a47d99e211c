"""Whole-scene inference: windows, multi-scale and overlap averaging, georeferenced output."""

from swath.mapping.engine import predict
from swath.mapping.product import ClassTable, write_map, write_png
from swath.mapping.scenes import MapResult, map_scene, predict_scene

__all__ = [
    "ClassTable",
    "MapResult",
    "map_scene",
    "predict",
    "predict_scene",
    "write_map",
    "write_png",
]
