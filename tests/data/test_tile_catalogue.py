"""Published sets of tiles: their numbers, and where they are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from tile_files import write_set

from swath.core.errors import UnknownName
from swath.data.catalogue import CATALOGUE
from swath.data.tile_catalogue import TILE_CATALOGUE, locate_tiles, tile_entry, where_to_put


def test_numbers_are_those_of_the_publications() -> None:
    assert not set(CATALOGUE) & set(TILE_CATALOGUE)
    roads, buildings = tile_entry("Massachusetts_Roads"), tile_entry("whu building")
    assert (roads.count, roads.shape) == (1171, (1500, 1500, 3))
    assert [part.count for part in buildings.parts] == [4736, 1036, 2416]
    assert buildings.count == 8188
    assert [one.classes[1] for one in (roads, buildings)] == [(255, "road"), (255, "building")]
    with pytest.raises(UnknownName, match="did you mean 'whu-building'"):
        tile_entry("whu-buildings")


@pytest.mark.parametrize("one", TILE_CATALOGUE.values(), ids=lambda one: one.key)
def test_a_set_is_found_where_it_was_put(
    one, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWATH_CACHE", str(tmp_path))
    monkeypatch.delenv("SWATH_DATA", raising=False)
    assert locate_tiles(one.key) is None
    assert str(tmp_path / one.key) in where_to_put(one)
    (tmp_path / one.key).mkdir()
    assert locate_tiles(one.key) is None
    for n, part in enumerate(one.parts):
        top = tmp_path / one.key
        write_set(top / part.images, top / part.masks, 1, ends=one.ends, first=n)
    assert locate_tiles(one.key) == tmp_path / one.key
    other = tmp_path / "data"
    (tmp_path / one.key).rename(tmp_path / "moved")
    other.mkdir()
    (tmp_path / "moved").rename(other / one.key.replace("-", "_"))
    monkeypatch.setenv("SWATH_DATA", str(other))
    assert locate_tiles(one.key) == other / one.key.replace("-", "_")
