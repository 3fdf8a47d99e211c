"""The catalogue: published facts, local files, downloads."""

from __future__ import annotations

import hashlib
import shutil

import numpy as np
import pytest
import scipy.io

from swath.core.errors import DataError, UnknownName
from swath.data import catalogue
from swath.data.catalogue import (
    CATALOGUE,
    download_scene,
    entry,
    locate,
    open_catalogue_scene,
)
from swath.data.download import sha256_of
from swath.data.readers import open_labels


@pytest.fixture(autouse=True)
def no_other_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("SWATH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SWATH_DATA", raising=False)


def test_the_eight_scenes():
    assert list(CATALOGUE) == [
        "pavia-university",
        "pavia-centre",
        "houston-2013",
        "indian-pines",
        "salinas",
        "salinas-a",
        "ksc",
        "botswana",
    ]
    labelled = {key: one.labelled for key, one in CATALOGUE.items()}
    assert labelled["pavia-university"] == 42_776
    assert labelled["pavia-centre"] == 148_152
    assert labelled["houston-2013"] == 15_029
    assert labelled["indian-pines"] == 10_249
    assert labelled["salinas"] == 54_129
    assert labelled["salinas-a"] == 5_348
    assert labelled["ksc"] == 5_211
    assert labelled["botswana"] == 3_248
    assert [len(one.classes) for one in CATALOGUE.values()] == [9, 9, 15, 16, 16, 6, 13, 14]


@pytest.mark.parametrize("one", CATALOGUE.values(), ids=lambda one: one.key)
def test_addresses_are_those_of_the_archive(one):
    # The archive is a MediaWiki: a file lies under the first digits of the MD5 of its name.
    for file in one.files:
        if one.registration:
            assert file.url is None
            continue
        digest = hashlib.md5(file.name.encode()).hexdigest()
        assert file.url is not None
        assert file.url.endswith(f"/uploads/{digest[0]}/{digest[:2]}/{file.name}")
        assert file.variable is not None
        assert file.variable.lower() == file.name.removesuffix(".mat").lower()


@pytest.mark.parametrize(
    ("key", "file"),
    [
        ("pavia-university", "PaviaU_gt.mat"),
        ("indian-pines", "Indian_pines_gt.mat"),
        ("salinas", "Salinas_gt.mat"),
        ("ksc", "KSC_gt.mat"),
    ],
)
def test_counts_and_sizes_against_the_real_maps(swath_data, key, file):
    labels = open_labels(swath_data / "gt_maps" / file)
    one = entry(key)
    assert labels.shape == one.shape[:2]
    assert labels.original == tuple(c.value for c in one.classes)
    assert labels.counts().tolist() == [c.count for c in one.classes]


def test_salinas_a_from_the_real_files(swath_data, monkeypatch):
    monkeypatch.setenv("SWATH_DATA", str(swath_data))
    located = locate("salinas-a")
    assert located.complete
    for file, path in zip(entry("salinas-a").files, (located.image, *located.labels), strict=True):
        assert path.stat().st_size == file.size
        assert sha256_of(path) == file.sha256
    scene = open_catalogue_scene("Salinas_A")
    assert scene.name == "salinas-a"
    assert scene.shape == (83, 86, 204)
    assert scene.notes == ()
    assert scene.sensor is not None
    assert dict(zip(scene.labels.original, scene.labels.names, strict=True)) == {
        1: "Brocoli green weeds 1",
        10: "Corn senesced green weeds",
        11: "Lettuce romaine 4wk",
        12: "Lettuce romaine 5wk",
        13: "Lettuce romaine 6wk",
        14: "Lettuce romaine 7wk",
    }
    assert download_scene("salinas-a") == located  # nothing to do, no network needed


def test_labels_without_image_are_located(swath_data):
    located = locate("pavia-university", [swath_data])
    assert located.image is None
    assert located.labels == (swath_data / "gt_maps/PaviaU_gt.mat",)
    with pytest.raises(DataError, match=r"PaviaU\.mat.*swath data get pavia-university"):
        open_catalogue_scene("pavia-university", [swath_data])


def test_houston_labels_are_put_together(swath_data, tmp_path):
    for part in ("TR", "VA"):
        shutil.copy(
            swath_data / f"houston2013/2013_IEEE_GRSS_DF_Contest_Samples_{part}.tif", tmp_path
        )
    one = entry("houston-2013")
    maps = [open_labels(tmp_path / file.name) for file in one.labels]
    merged = catalogue._merged(maps)
    assert merged.shape == one.shape[:2]
    assert np.bincount(merged.ravel())[1:].tolist() == [c.count for c in one.classes]
    with pytest.raises(DataError, match=r"register at https://machinelearning\.ee\.uh\.edu"):
        open_catalogue_scene("houston-2013", [tmp_path])
    with pytest.raises(DataError, match=r"register at .*_CASI\.tif"):
        download_scene("houston-2013", tmp_path)


def test_copies_with_other_variable_names_and_counts(tmp_path):
    folder = tmp_path / "cache" / "ksc"
    folder.mkdir(parents=True)
    cube = np.random.default_rng(0).random((6, 7, 4))
    scipy.io.savemat(folder / "KSC.mat", {"data": cube})
    scipy.io.savemat(folder / "KSC_gt.mat", {"map": np.arange(42).reshape(6, 7) % 3})
    scene = open_catalogue_scene("ksc")
    assert scene.labels.names == ("Scrub", "Willow swamp")
    assert any("6 x 7 x 4, not 512 x 614 x 176" in note for note in scene.notes)
    assert any("pixels per class" in note for note in scene.notes)


def test_download_fetches_what_is_missing(tmp_path, monkeypatch):
    asked = []

    def fetch(url, target, size, sha256, retries, progress):
        asked.append((url.rsplit("/", 1)[-1], target, size))
        return target

    monkeypatch.setattr(catalogue, "fetch", fetch)
    located = download_scene("salinas-a")
    folder = tmp_path / "cache" / "salinas-a"
    assert asked == [
        ("SalinasA_corrected.mat", folder / "SalinasA_corrected.mat", 1539086),
        ("SalinasA_gt.mat", folder / "SalinasA_gt.mat", 587),
    ]
    assert located.image == folder / "SalinasA_corrected.mat"
    asked.clear()
    there = tmp_path / "there"
    there.mkdir()
    (there / "KSC_gt.mat").touch()
    download_scene("ksc", there)
    assert [name for name, *_ in asked] == ["KSC.mat"]


def test_unknown_scene():
    with pytest.raises(UnknownName, match=r"did you mean 'pavia-university'"):
        locate("pavia-univercity")
