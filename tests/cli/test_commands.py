"""Every command, on a tiny run and on what comes with swath."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from swath import strategies
from swath.study.one_shot_section import ONE_SHOT
from swath.study.recipes import resolve
from swath.study.study_section import DIFFERENTIABLE

COMMANDS = ["search", "train", "map", "report", "data", "spaces", "recipes", "demo", "strategies"]
HEAVY = {"torch", "rasterio", "matplotlib", "sklearn", "scipy", "h5py", "pydantic", "dask"}


# --- help and version -----------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["search", "--help"], ["--version"]])
def test_help_and_version_import_nothing_heavy(words: list[str]) -> None:
    program = (
        "import sys\nfrom swath.cli.entry import run\n"
        f"status = run({words})\n"
        "print('MODULES', *{name.split('.')[0] for name in sys.modules})\nsys.exit(status)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    loaded = result.stdout.rpartition("MODULES")[2].split()
    # typer itself may load pydantic.
    assert (HEAVY - {"pydantic"}) & set(loaded) == set()


def test_help_names_every_command(cli: Any) -> None:
    result = cli("--help")
    assert result.status == 0
    for command in COMMANDS:
        assert f" {command} " in result.out
        assert cli(command, "--help").status == 0
        assert cli(command, "-h").status == 0


def test_without_a_command_help_is_shown(cli: Any) -> None:
    result = cli()
    assert result.status == 2
    assert "Usage: swath" in result.out


def test_version(cli: Any) -> None:
    import swath

    assert cli("--version").out == f"swath {swath.__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serach"], "did you mean 'search'"),
        (["data", "lits"], "did you mean 'list'"),
        (["search", "--ouut", "x"], "did you mean '--out'"),
        (["search"], "--out"),
        (["map", "run"], "scene"),
        (["report", "a", "b"], "unexpected"),
        (["search", "--out", "x", "--set", "a=1", "b=2"], "write --set a=1 --set b=2"),
        (["search", "--out", "x", "--set", "a=1", "b=2", "c=3"], "write --set a=1 --set b=2"),
        (["spaces", "hsi3"], "did you mean 'hsi3d'"),
        (["strategies", "randon"], "did you mean 'random'"),
        (["strategies", "se-nass"], "did you mean 'se-nas'"),
        (["estimators", "traind"], "did you mean 'trained'"),
        (["recipes", "show", "hsi3d-quik"], "did you mean 'hsi3d-quick'"),
        (["data", "info", "salnas-a"], "did you mean 'salinas-a'"),
        (["data", "get", "salnas-a"], "did you mean 'salinas-a'"),
        (["data", "simulate", "demo-simulate", "--out", "x"], "did you mean 'demo-simulated'"),
    ],
)
def test_misspelt_words_give_the_nearest(cli: Any, words: list[str], said: str) -> None:
    result = cli(*words)
    assert result.status == 2
    assert said in result.message.lower()


# --- runs -----------------------------------------------------------------------------------------


def test_search_prints_its_progress_and_a_summary(trained: Any) -> None:
    folder, _, result = trained
    progress = result.err.splitlines()
    assert progress[0] == "tiny: 32 x 32 pixels, 8 bands, 3 classes, simulated"
    assert progress[1].startswith("Random split: 5 training and 3 validation labels per class")
    for phase in ("search: epoch 2/2", "train: iteration 4/4", "map plain: 100 %"):
        assert sum(line.startswith(phase) for line in progress) == 1
    metrics = json.loads((folder / "metrics.json").read_text())
    assert "(simulated), random split, 15 training" in result.out
    assert f"{100 * metrics['test']['oa']:.2f} %" in result.out
    assert f"{100 * metrics['test']['aa']:.2f} %" in result.out
    assert f"{metrics['test']['kappa']:.4f}" in result.out
    assert f"{metrics['cost']['parameters']:,} parameters" in result.out
    for name in ("map.tif", "map.png", "report.html"):
        assert str(folder / name) in result.out
        assert (folder / name).is_file()


def test_search_by_trials(cli: Any, scene_file: Path, tmp_path: Path) -> None:
    words = cli.words(
        scene_file, tmp_path / "run", "--label-variable", "labels", "--strategy", "random",
        "--trials", 2, "--set", "study.iterations=2",
    )  # fmt: skip
    result = cli(*words)
    assert result.status == 0, result.err
    assert "trials: trial 2/2, best score " in result.err
    assert (tmp_path / "run" / "map.tif").is_file()
    for command in ("show", "best", "list"):
        looked = cli("study", command, tmp_path / "run" / "search")
        assert looked.status == 0, looked.err
    shown = cli("study", "show", tmp_path / "run" / "search").out
    assert re.search(r"^trials +2$", shown, re.MULTILINE)


def test_search_with_a_supernet(cli: Any, scene_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    tiny = {
        "training.steps": 2, "training.epochs": 1, "training.later_epochs": 1,
        "training.snapshots": 1, "training.batch": 2, "shrinking.stages": 1,
        "shrinking.children": 1, "recalibration": 2, "population": 4, "parents": 2,
        "crossover": 1, "generations": 1,
    }  # fmt: skip
    settings = [
        word for key, value in tiny.items() for word in ("--set", f"one_shot.{key}={value}")
    ]
    words = cli.words(scene_file, folder, "--label-variable", "labels", "--strategy", "se-nas")
    result = cli(*words, *settings)
    assert result.status == 0, result.err
    page = (folder / "report.html").read_text("utf-8")
    assert "trained for 2 epochs in 2 stages" in page
    assert "The strategy se-nas then judged 4 of the" in page
    assert "Which operators left when" in page
    assert "Too few sizes" not in page
    refused = cli(*words, *settings, "--trials", "3")
    assert "makes no trials" in refused.message


def test_the_command_is_kept(trained: Any, scene_file: Path) -> None:
    metrics = json.loads((trained[0] / "metrics.json").read_text())
    assert metrics["command"].startswith(f"swath search --scene {scene_file} --out {trained[0]}")


def test_a_complete_run_says_so_and_stays(cli: Any, trained: Any) -> None:
    folder, words, first = trained
    before = cli.everything(folder)
    again = cli(*words)
    assert again.status == 0
    assert again.err.splitlines() == [f"the run in {folder} is complete already"]
    assert again.out == first.out
    assert cli.everything(folder) == before


def test_an_unfinished_run_says_that_it_goes_on(cli: Any, trained: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [run if word == trained[0] else word for word in trained[1]]
    shutil.copytree(trained[0], run)
    shutil.rmtree(run / "training")
    for name in ("metrics.json", "map.tif", "report.html"):
        (run / name).unlink()
    result = cli(*words)
    assert result.status == 0
    assert f"continuing the run in {run}" in result.err.splitlines()
    assert "search:" not in result.err
    assert (run / "map.tif").read_bytes() == (trained[0] / "map.tif").read_bytes()


def test_a_recipe_file_is_searched_as_it_says(cli: Any, trained: Any, tmp_path: Path) -> None:
    recipe = yaml.safe_load((trained[0] / "recipe.yaml").read_text())
    recipe["search"]["epochs"] = 3
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    result = cli("search", tmp_path / "mine.yaml", "--seed", 1, "--out", tmp_path / "run")
    assert result.status == 0, result.err
    assert "search: epoch 3/3" in result.err
    resolved = yaml.safe_load((tmp_path / "run/recipe.yaml").read_text())
    assert resolved == {**recipe, "seed": 1}


@pytest.mark.parametrize("form", ["argument", "option", "file"])
def test_train_takes_the_architecture_of_a_run(
    cli: Any, trained: Any, tmp_path: Path, form: str
) -> None:
    folder = trained[0]
    source: list[object] = {
        "argument": [folder],
        "option": ["--architecture", folder],
        "file": [folder / "best/architecture.json"],
    }[form]
    rest = trained[1][1:] if form == "file" else []
    rest = [word for word in rest if word != folder and word != "--out"]
    result = cli("train", *source, *rest, "--seed", 3, "--out", tmp_path / "run")
    assert result.status == 0, result.err
    assert "search:" not in result.err
    assert "train: iteration 4/4" in result.err
    architecture = "best/architecture.json"
    assert (tmp_path / "run" / architecture).read_text() == (folder / architecture).read_text()
    if form != "file":
        before = yaml.safe_load((folder / "recipe.yaml").read_text())
        after = yaml.safe_load((tmp_path / "run/recipe.yaml").read_text())
        assert after.pop("architecture")["space"] == "hsi3d"
        assert after == {key: value for key, value in before.items() if key != "architecture"} | {
            "seed": 3
        }


def test_train_on_another_scene_leaves_the_first_ones_behind(
    cli: Any, trained: Any, arrays: Any, tmp_path: Path
) -> None:
    image, labels = arrays()
    result = cli(
        "train", trained[0], "--scene", image, "--labels", labels, "--out", tmp_path / "run"
    )
    assert result.status == 0, result.err
    task = yaml.safe_load((tmp_path / "run/recipe.yaml").read_text())["task"]
    assert (task["scene"], task["label_variable"], task["train"]) == (str(image), None, 5)


def test_map_gives_the_runs_own_map_again(
    cli: Any, trained: Any, scene_file: Path, tmp_path: Path
) -> None:
    import rasterio

    result = cli("map", trained[0], scene_file, "--out", tmp_path / "m.tif", "--png",
                 tmp_path / "m.png", "--probabilities", tmp_path / "p.tif", "--entropy",
                 tmp_path / "e.tif")  # fmt: skip
    assert result.status == 0, result.err
    assert "mapped         1,024 pixels, mode plain" in result.out
    with rasterio.open(tmp_path / "m.tif") as new, rasterio.open(trained[0] / "map.tif") as old:
        np.testing.assert_array_equal(new.read(1), old.read(1))
        chosen = new.read(1)
    with rasterio.open(tmp_path / "p.tif") as file:
        np.testing.assert_array_equal(1 + file.read().argmax(axis=0), chosen)
    for name in ("m.png", "e.tif"):
        assert (tmp_path / name).stat().st_size > 100
        assert str(tmp_path / name) in result.out


def test_map_of_other_values_where_that_is_wanted(
    cli: Any, trained: Any, scene_file: Path, tmp_path: Path
) -> None:
    with np.load(scene_file) as file:
        np.save(tmp_path / "small.npy", file["cube"] / 10_000)
    words = ["map", trained[0], tmp_path / "small.npy", "--out", tmp_path / "m.tif"]
    assert cli(*words).status == 2
    assert cli(*words, "--any-values", "--mode", "ms+ov").status == 0


def test_report_is_written_again(cli: Any, trained: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    (run / "report.html").unlink()
    result = cli("report", run)
    assert result.out == f"report  {run / 'report.html'}\n"
    assert (run / "report.html").read_bytes() == (trained[0] / "report.html").read_bytes()
    assert cli("report", run, "--out", tmp_path / "page.html").status == 0
    assert (tmp_path / "page.html").is_file()


def test_runs_and_results_may_lie_in_the_home_folder(
    cli: Any, trained: Any, scene_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained[0], tmp_path / "run")
    words = ["~/run" if word == trained[0] else word for word in trained[1]]
    result = cli(*words)
    assert result.status == 0, result.err
    assert "is complete already" in result.err
    for words in (
        ["report", "~/run", "--out", "~/page.html"],
        ["map", "~/run", scene_file, "--out", "~/m.tif", "--png", "~/m.png"],
        ["train", "~/run", "--out", "~/again"],
    ):
        result = cli(*words)
        assert result.status == 0, result.err
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {"run", "page.html", "m.tif", "m.png", "again"}


def test_a_broken_recipe_of_a_run_is_named(
    cli: Any, trained: Any, scene_file: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    text = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(text.replace("iterations: 4", "iterations: many"))
    result = cli("map", run, scene_file, "--out", tmp_path / "m.tif")
    assert result.status == 2
    assert f"{run / 'recipe.yaml'}: the recipe's 'training.iterations'" in result.message
    (run / "recipe.yaml").write_text(text[: text.index("iterations: ")])
    for words in (
        ["map", run, scene_file, "--out", tmp_path / "m.tif"],
        ["train", run, "--out", tmp_path / "again"],
    ):
        result = cli(*words)
        assert result.status == 2
        assert f"{run / 'recipe.yaml'} lacks the section 'mapping'" in result.message
    assert not (tmp_path / "again").exists()


def test_interrupt_in_a_real_process_and_the_same_command_again(
    cli: Any, trained: Any, tmp_path: Path
) -> None:
    words = [tmp_path / "run" if word == trained[0] else word for word in trained[1]]
    long = [*words, "--set", "search.epochs=4000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "swath", *map(str, long)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # A shell's background jobs ignore interrupts, and hand that down to what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    with process.stderr, process.stdout or process.stderr:
        for line in process.stderr:
            if line.startswith("search: epoch"):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.wait() == 130
    assert "Traceback" not in rest
    assert rest.splitlines()[-1] == "stopped; the same command continues where it was"
    log = (tmp_path / "run/log.jsonl").read_text().splitlines()
    assert json.loads(log[-1])["event"] == "stopped"
    # The epochs are part of the run, so another number is another run.
    assert cli(*words).status == 2


# --- lists ----------------------------------------------------------------------------------------


def test_spaces(cli: Any) -> None:
    listed = cli("spaces")
    assert listed.status == 0
    assert "hsi3d" in listed.out
    assert "2.242e+13" in listed.out
    shown = cli("spaces", "hsi3d")
    for word in ("cell1.width", "sep_3-5", "skip_connect", "variant", "asym-d"):
        assert word in shown.out


def test_strategies_and_estimators(cli: Any) -> None:
    for command, one, option in (
        ("strategies", "evolution", "tournament"),
        ("estimators", "trained", "budgets"),
    ):
        listed = cli(command)
        assert listed.status == 0
        assert one in listed.out
        shown = cli(command, one)
        assert option in shown.out.split("options (")[1]
    names = strategies.names()
    lines = cli("strategies").out.splitlines()
    told = {line.split()[0] for line in lines if line.strip()}
    assert {*names, *ONE_SHOT, DIFFERENTIABLE} <= told


@pytest.mark.parametrize("name", [*ONE_SHOT, DIFFERENTIABLE])
def test_options_of_a_strategy_with_a_supernet_are_those_that_can_be_set(
    cli: Any, name: str
) -> None:
    shown = cli("strategies", name).out.split("options (--set ")[1]
    where = shown.split(".NAME")[0]
    listed = dict(re.findall(r"^(\w[\w.]+) {2,}(\S+)", shown.split("───\n")[1], re.MULTILINE))
    assert len(listed) > 15
    assert ("shrinking.drop" in listed) == (name == "se-nas")
    assert listed.get("training.paths") == {"fairnas": "'fair'", "differentiable": None}.get(
        name, "'uniform'"
    )
    given = {"one_shot": {"strategy": name}} if name in ONE_SHOT else {}
    resolved = resolve(given)
    for key, default in listed.items():
        assert repr(reached(resolved, f"{where}.{key}")) == default
        resolve(given, overrides=[f"{where}.{key}={default}".replace("None", "null")])


def reached(settings: Any, path: str) -> Any:
    """The value at a path of keys."""
    for key in path.split("."):
        settings = getattr(settings, key)
    return settings


def test_recipes(cli: Any, tmp_path: Path) -> None:
    for words in (["recipes"], ["recipes", "list"]):
        result = cli(*words)
        assert result.status == 0
        for name in ("hsi3d-quick", "hsi3d-standard", "hsi3d-paper"):
            assert name in result.out
    shown = yaml.safe_load(cli("recipes", "show", "hsi3d-paper").out)
    assert shown["training"]["iterations"] == 600_000
    assert shown["task"]["guard"] == 4  # a default, written out


# --- data -----------------------------------------------------------------------------------------


def test_data_list_and_info(cli: Any) -> None:
    listed = cli("data", "list").out
    for word in ("salinas-a", "83 x 86 x 204", "pavia-university", "demo-simulated"):
        assert word in listed
    shown = cli("data", "info", "Salinas_A").out
    for word in ("Lettuce romaine 7wk", "799", "5,348", "SalinasA_corrected.mat", "https://"):
        assert word in shown
    assert "register" in cli("data", "info", "houston-2013").out


def test_data_info_tells_where_a_scene_lies_or_should(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWATH_DATA", str(tmp_path))
    monkeypatch.setenv("SWATH_CACHE", str(tmp_path / "cache"))
    shown = cli("data", "info", "salinas-a").out
    assert f"put SalinasA_corrected.mat and SalinasA_gt.mat into {tmp_path / 'cache'}" in shown
    for name in ("SalinasA_corrected.mat", "SalinasA_gt.mat"):
        (tmp_path / name).write_text("")
    shown = cli("data", "info", "salinas-a").out
    assert f"{tmp_path / 'SalinasA_corrected.mat'}, {tmp_path / 'SalinasA_gt.mat'}" in shown


def test_data_info_says_which_tiles_belong_where(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWATH_CACHE", str(tmp_path))
    monkeypatch.delenv("SWATH_DATA", raising=False)
    listed = cli("data", "list").out
    assert "massachusetts-roads" in listed
    assert "8,188" in listed
    shown = cli("data", "info", "Massachusetts_Roads").out
    for word in ("tiff/train_labels/NAME.tif", "1,108", "255 = road", f"{tmp_path}", "https://"):
        assert word in shown
    for folder, end in (("tiff/train", ".tiff"), ("tiff/train_labels", ".tif")):
        place = tmp_path / "massachusetts-roads" / folder
        place.mkdir(parents=True)
        (place / f"a{end}").write_text("")
    assert "not on this machine" in shown
    shown = cli("data", "info", "massachusetts-roads").out
    assert str(tmp_path / "massachusetts-roads") in shown
    assert "not on this machine" not in shown
    result = cli("data", "get", "whu-building")
    assert result.status == 2
    assert "put the folders train/image and train/label" in result.err


def test_data_info_of_a_file(cli: Any, scene_file: Path) -> None:
    shown = cli("data", "info", scene_file).out
    for word in ("32 x 32 x 8", "uint16", "400 to 2500 nm", "label_values"):
        assert word in shown


def test_data_get_of_what_is_there(cli: Any, swath_data: Path) -> None:
    result = cli("data", "get", "salinas-a")
    assert result.status == 0
    assert "on this machine already" in result.err
    assert "SalinasA_gt.mat" in result.out


def test_data_get_where_registration_is_asked_for(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SWATH_DATA", raising=False)
    monkeypatch.setenv("SWATH_CACHE", str(tmp_path))
    result = cli("data", "get", "houston-2013")
    assert result.status == 2
    assert "register at https://" in result.message


def test_simulated_files_are_the_same_for_a_seed_and_keep_names(cli: Any, tmp_path: Path) -> None:
    from swath.data.readers import open_scene

    sizes = ["--rows", 20, "--columns", 30, "--bands", 5, "--classes", 2]
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        out = tmp_path / f"{name}.npz"
        assert cli("data", "simulate", *sizes, "--seed", seed, "--out", out).status == 0
    a, b, c = (np.load(tmp_path / f"{name}.npz") for name in "abc")
    assert a["cube"].shape == (20, 30, 5)
    np.testing.assert_array_equal(a["cube"], b["cube"])
    assert (a["cube"] != c["cube"]).any()
    scene = open_scene(tmp_path / "a.npz", label_variable="labels")
    assert scene.simulated
    assert scene.labels is not None
    assert scene.labels.names == ("class 1", "class 2")
    result = cli("data", "simulate", "indian-pines-simulated", "--rows", 9, "--out", tmp_path / "d")
    assert "--rows" in result.message


# --- demo -----------------------------------------------------------------------------------------


def test_demo_without_data_and_network_says_so_and_can_be_given_again(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from swath.cli import demo
    from swath.core.errors import DataError

    def offline(*_: object, **__: object) -> None:
        raise DataError("could not download it: no network")

    monkeypatch.delenv("SWATH_DATA", raising=False)
    monkeypatch.setenv("SWATH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("swath.cli.data.fetch_scene", offline)
    tiny = [word for word in cli.words("", "") if "=" in str(word)]
    monkeypatch.setattr(demo, "SHORT", tuple(tiny))
    words = ["demo", "--short", "--out", tmp_path / "demo"]
    first = cli(*words)
    assert first.status == 0, first.err
    assert "could not download it: no network" in first.err
    assert "SIMULATED" in first.err
    assert "demo-simulated (simulated), spatial split" in first.out
    assert (tmp_path / "demo/run/report.html").is_file()
    # With the network back, the finished run still is the one that is there.
    monkeypatch.undo()
    monkeypatch.setattr(demo, "SHORT", tuple(tiny))
    again = cli(*words)
    assert again.status == 0
    assert "complete already" in again.err
    assert again.out == first.out


def test_demo_takes_the_real_scene_where_it_is(
    cli: Any, swath_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from swath.cli import demo

    tiny = [word for word in cli.words("", "") if "=" in str(word)]
    monkeypatch.setattr(demo, "SHORT", tuple(tiny))
    result = cli("demo", "--short", "--out", tmp_path)
    assert result.status == 0, result.err
    assert "Test accuracy of salinas-a, spatial split" in result.out
    assert "SIMULATED" not in result.err


@pytest.mark.parametrize("scene", ["demo-simulated", "salinas-a"])
def test_demo_says_that_a_run_is_simulated_where_the_real_scene_is(
    scene: str, swath_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from swath.cli import demo

    (tmp_path / "recipe.yaml").write_text(f"task: {{scene: {scene}}}\n")
    assert demo._scene(tmp_path) == scene
    told = "SIMULATED scene; for Salinas-A, which is here now" in capsys.readouterr().err
    assert told == (scene == "demo-simulated")
