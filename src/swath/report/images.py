"""Small exact images for the report: PNGs written from integer arrays."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Colour", "data_uri", "indexed_png", "rgb_png"]

Colour = tuple[int, int, int, int]
"""Red, green, blue and opacity, each 0..255."""


def indexed_png(indices: NDArray[np.integer], palette: Sequence[Colour]) -> bytes:
    """Return a PNG of one pixel per array element.

    Parameters
    ----------
    indices : (rows, columns), positions in ``palette``.
    palette : at most 256 colours; opacity is kept, so an image can sit on any background.

    Raises
    ------
    ValueError : the palette is too long, or an index lies outside it.

    Source: Portable Network Graphics, third edition, W3C 2025, sections 5 and 11 (colour type 3).
    """
    if not 1 <= len(palette) <= 256:
        raise ValueError(f"a PNG palette holds 1 to 256 colours, not {len(palette)}")
    if indices.ndim != 2 or indices.size == 0:
        raise ValueError(f"an image is (rows, columns), not {indices.shape}")
    if indices.min() < 0 or indices.max() >= len(palette):
        raise ValueError("an index lies outside the palette")
    rows, columns = indices.shape
    scanlines = np.zeros((rows, columns + 1), np.uint8)  # column 0: filter type "none"
    scanlines[:, 1:] = indices
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)),
        (b"PLTE", b"".join(bytes(colour[:3]) for colour in palette)),
        (b"tRNS", bytes(colour[3] for colour in palette)),
        (b"IDAT", zlib.compress(scanlines.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def rgb_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a PNG of pixels (rows, columns, 3), red, green and blue.

    Raises
    ------
    ValueError : they are no such array.

    Source: as of :func:`indexed_png` (colour type 2).
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or pixels.size == 0:
        raise ValueError(f"a picture is uint8 (rows, columns, 3), not {pixels.shape}")
    rows, columns, _ = pixels.shape
    # Each row as its difference to the one above (filter type 2), which packs better.
    scanlines = np.full((rows, 1 + 3 * columns), 2, np.uint8)
    flat = pixels.reshape(rows, -1)
    scanlines[:, 1:] = flat - np.concatenate([np.zeros_like(flat[:1]), flat[:-1]])
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(scanlines.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def data_uri(png: bytes) -> str:
    """Return a PNG as a ``data:`` address, to be written into a page."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
