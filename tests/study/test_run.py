"""The run folder: whose it is, the lock, and the model that is kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from swath.core.errors import RunError
from swath.data.labels import LabelMap
from swath.data.scaling import Scaling
from swath.data.scene import array_scene
from swath.spaces.hsi3d import HSI3D
from swath.study.run import Model, RunFolder


def test_a_new_run_and_the_same_again(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "new" / "deep", tmp_path / "empty"):
        folder = RunFolder.create(path, "seed: 0\n")
        assert folder.recipe.read_text() == "seed: 0\n"
        (path / "map.png").write_bytes(b"x")
        assert RunFolder.create(path, "seed: 0\n").path == path
        assert RunFolder.open(path).path == path


def test_another_recipe_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, "seed: 0\ntask:\n  train: 20\n")
    with pytest.raises(RunError, match=r"another run \(task\.train: there 20, here 30\)"):
        RunFolder.create(tmp_path, "seed: 0\ntask:\n  train: 30\n")
    with pytest.raises(RunError, match=r"another run \(more: there null, here 1\)"):
        RunFolder.create(tmp_path, "seed: 0\ntask:\n  train: 20\nmore: 1\n")
    with pytest.raises(RunError, match=r"another run \(written otherwise\)"):
        RunFolder.create(tmp_path, "seed: 0\ntask: {train: 20}\n")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "recipe.yaml").write_text("seed: [")
    with pytest.raises(RunError, match=r"whose recipe\.yaml is damaged"):
        RunFolder.create(tmp_path / "damaged", "seed: 0\n")
    assert (tmp_path / "recipe.yaml").read_text() == "seed: 0\ntask:\n  train: 20\n"


def test_foreign_folders_and_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="is a file; choose a folder"):
        RunFolder.create(tmp_path / "file", "seed: 0\n")
    with pytest.raises(RunError, match="is a file"):
        RunFolder.create(tmp_path / "file" / "below", "seed: 0\n")
    with pytest.raises(RunError, match="holds other files"):
        RunFolder.create(tmp_path, "seed: 0\n")
    with pytest.raises(RunError, match=r"no run folder: it has no recipe\.yaml"):
        RunFolder.open(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_checking_writes_nothing(tmp_path: Path) -> None:
    RunFolder.check(tmp_path / "run", "seed: 0\n")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_half_written_is_no_obstacle(tmp_path: Path) -> None:
    """Killed while recipe.yaml was being written, or later while a checkpoint was."""
    (tmp_path / ".recipe-ab12_xyz.yaml").write_text("seed")
    folder = RunFolder.create(tmp_path, "seed: 0\n")
    folder.search.mkdir()
    names = ("checkpoint-12345678.safetensors", "ranking-12345678.json", "stages-12345678.json")
    left = [folder.search / f".{name}" for name in names]
    for file in left:
        file.write_bytes(b"half")
    mine = folder.search / ".notes-of-mine.txt"
    mine.write_text("kept")
    kept = folder.search / "checkpoint.safetensors"
    kept.write_bytes(b"whole")
    with folder.lock():
        assert not any(file.exists() for file in left)
        assert not (tmp_path / ".recipe-ab12_xyz.yaml").exists()
        assert mine.exists()
        assert kept.exists()
        assert folder.recipe.exists()


def test_a_run_belongs_to_its_pixels_and_labels(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "seed: 0\n")
    cube = np.arange(60.0).reshape(4, 5, 3)
    labels = np.arange(20).reshape(4, 5) % 3
    scene = array_scene(cube, labels)
    folder.check_scene(scene.fingerprint())  # nothing to compare with yet
    folder.keep_scene(scene.fingerprint())
    kept = folder.scene.read_text()
    folder.check_scene(array_scene(cube.copy(), labels.copy()).fingerprint())
    one_pixel, one_label = cube.copy(), labels.copy()
    one_pixel[3, 4, 2], one_label[0, 0] = -1, 2
    named = LabelMap.from_array(labels, ["a", "b"])
    for other, what in (
        (array_scene(one_pixel, labels), "pixel values"),
        (array_scene(cube, one_label), "labels"),
        (array_scene(cube, named), "labels"),
        (array_scene(cube), "labels"),
        (array_scene(cube, labels, bands=(0, 1)), "rows, columns or bands"),
        (array_scene(cube, labels, bands=(0, 2, 1)), "pixel values"),
    ):
        with pytest.raises(RunError, match=f"begun with other {what} than those of array"):
            folder.check_scene(other.fingerprint())
    folder.keep_scene(array_scene(cube).fingerprint())
    assert folder.scene.read_text() == kept


HOLD = """
import sys
from pathlib import Path
from swath.study.run import RunFolder
with RunFolder(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_run_is_held_by_one_process_until_it_ends(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "seed: 0\n")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match="in use by another process"), folder.lock():
            pass
    finally:
        holder.kill()  # even so the lock is gone with it
        holder.wait()
        holder.communicate()
    with folder.lock():
        pass
    with folder.lock():
        pass


def test_complete_needs_figures_and_report(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "seed: 0\n")
    assert not folder.complete
    folder.metrics.write_text("{}")
    assert not folder.complete
    folder.report.write_text("")
    assert folder.complete


def test_log_lines_are_events(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "seed: 0\n")
    folder.log("started", command="swath search")
    folder.log("finished")
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["event"] for entry in entries] == ["started", "finished"]
    assert entries[0]["command"] == "swath search"
    assert entries[0]["time"] <= entries[1]["time"]


def model(wavelengths: tuple[float, ...] | None = None) -> Model:
    space = HSI3D(base_width=2, stem_width=3, head_width=4, width_factors=[1, 1.5, 2])
    return Model(
        architecture=space.sample(np.random.default_rng(0)),
        space_options=space.options,
        bands=(0, 2, 3, 7, 8),
        available=9,
        wavelengths=wavelengths,
        scaling=Scaling("standard", (0.1, 0.2, 0.3, 0.4, 1 / 3), (1.0, 2.0, 3.0, 1e-7, 5e9)),
        values=(0.5, 7.25),
        classes=(
            {"name": "Wald & Wiese", "original": 3, "colour": [1, 2, 3]},
            {"name": "水", "original": 10, "colour": [4, 5, 6]},
        ),
        sensor=None,
        scene="toy",
    )


@pytest.mark.parametrize("wavelengths", [None, (400.0, 500.5, 600.0, 700.0, 1e3 / 3)])
def test_a_saved_model_predicts_the_same(
    tmp_path: Path, wavelengths: tuple[float, ...] | None
) -> None:
    folder = RunFolder.create(tmp_path, "seed: 0\n")
    facts = model(wavelengths)
    network = facts.build()
    for _ in range(3):  # running statistics of its own
        network.train()(torch.randn(2, 5, 6, 7))
    network.eval()
    folder.save_model(facts, network)
    again, loaded = folder.load_model()
    # the options come back as JSON has them: a list where there was a tuple
    assert again.to_dict() == json.loads(json.dumps(facts.to_dict()))
    assert (again.architecture, again.scaling) == (facts.architecture, facts.scaling)
    assert (again.bands, again.wavelengths, again.values) == (facts.bands, wavelengths, (0.5, 7.25))
    assert not loaded.training
    x = torch.randn(1, 5, 9, 4)
    with torch.no_grad():
        assert torch.equal(network(x), loaded(x))
    # anyone can read it without swath, and nothing is pickled
    from safetensors import safe_open

    with safe_open(folder.best / "model.safetensors", framework="np") as file:
        inside = json.loads(file.metadata()["model"])
        names = set(file.keys())
    assert names == set(network.state_dict())
    assert inside == json.loads((folder.best / "model.json").read_text()) == again.to_dict()


def test_models_that_cannot_be_loaded(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "seed: 0\n")
    with pytest.raises(RunError, match="no trained model yet; run its command again"):
        folder.load_model()
    facts = model()
    folder.save_model(facts, facts.build())
    weights, described = folder.best / "model.safetensors", folder.best / "model.json"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(RunError, match=r"model\.safetensors is damaged"):
        folder.load_model()
    weights.write_bytes(content)
    described.write_text('{"architecture": {"space": "hsi3d", "genes": {}}}')
    with pytest.raises(RunError, match=r"model\.json is damaged"):
        folder.load_model()
    described.unlink()
    with pytest.raises(RunError, match=r"model\.json"):
        folder.load_model()
