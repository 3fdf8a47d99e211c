"""The commands of studies, from a recipe to files, and what they refuse."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from swath import spaces
from swath.estimators.tables import ScoreColumn, convert_csv, write_table
from swath.study.conduct import find_studies

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A study of a small table of a user's own, with made-up accuracies."""
    space: Any = spaces.create("nasbenchmacro")
    rng = np.random.default_rng(0)
    genes = [gene.name for gene in space.genes]
    lines = [",".join([*genes, "accuracy", "size"])]
    for place, architecture in enumerate(dict.fromkeys(space.sample(rng) for _ in range(60))):
        values = [str(value) for _, value in architecture.genes]
        lines.append(",".join([*values, str(0.5 + place / 200), str(1000 + place)]))
    folder = tmp_path_factory.mktemp("table")
    (folder / "own.csv").write_text("\n".join(lines) + "\n")
    table = convert_csv(
        folder / "own.csv", space, [ScoreColumn("accuracy")], costs={"parameters": "size"}
    )
    write_table(table, folder / "own.safetensors")
    return {
        "trials": 12,
        "seed": 3,
        "strategy": {"name": "random", "options": {"batch": 5}},
        "estimator": {"name": "table", "options": {"table": str(folder / "own.safetensors")}},
        "objectives": ["score", "parameters"],
    }


@pytest.fixture
def file(recipe: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


@pytest.fixture(scope="module")
def study(cli: Any, recipe: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished study."""
    folder = tmp_path_factory.mktemp("studies")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    result = cli("study", "run", folder / "recipe.yaml", "--out", folder / "one")
    assert result.status == 0, result.err
    return folder / "one"


# --- running --------------------------------------------------------------------------------------


def test_run_tells_how_far_it_is_and_what_it_found(cli: Any, file: Path, tmp_path: Path) -> None:
    result = cli("study", "run", file, "--out", tmp_path / "study")
    assert result.status == 0
    assert "trial 12/12, best score" in result.err
    assert "trials        12" in result.out
    assert (tmp_path / "study" / "study.journal").is_file()
    written = yaml.safe_load((tmp_path / "study" / "recipe.yaml").read_text())
    assert written["objectives"] == [
        {"name": "score", "direction": None},
        {"name": "parameters", "direction": None},
    ]


def test_the_same_command_continues_and_more_trials_go_further(
    cli: Any, file: Path, tmp_path: Path
) -> None:
    words = ["study", "run", file, "--out", tmp_path / "study"]
    whole = cli("study", "run", file, "--out", tmp_path / "whole", "--trials", 20)
    assert whole.status == 0
    assert cli(*words, "--trials", 7).status == 0
    assert cli(*words).status == 0
    again = cli(*words, "--trials", 20, "--workers", 2)
    assert again.status == 0
    assert "continuing a study of 12 finished trials" in again.err
    assert again.out.replace(str(tmp_path / "study"), "") == whole.out.replace(
        str(tmp_path / "whole"), ""
    )


def test_set_changes_anything(cli: Any, file: Path, tmp_path: Path) -> None:
    result = cli(
        "study", "run", file, "--out", tmp_path / "s", "--set", "objectives=[parameters]",
        "--seed", 9,
    )  # fmt: skip
    assert result.status == 0
    shown = cli("study", "show", tmp_path / "s").out
    assert "minimize parameters" in shown
    assert "seed        9" in shown


# --- looking --------------------------------------------------------------------------------------


def test_list_finds_studies_in_a_folder_and_below(cli: Any, study: Path) -> None:
    for place in (study, study.parent):
        out = cli("study", "list", place).out
        assert str(study) in out
        assert "random" in out


def test_list_shows_what_can_be_read(cli: Any, study: Path, tmp_path: Path) -> None:
    shutil.copytree(study, tmp_path / "whole")
    for name in ("broken", "cut"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "study.journal").write_text('{"op_code": 0}\n{}\n')
    result = cli("study", "list", tmp_path)
    assert result.status == 0, result.err
    lines = {line.split()[0]: line.split()[1:] for line in result.out.splitlines() if line.strip()}
    assert lines[str(tmp_path / "broken")] == ["–"] * 5
    assert lines[str(tmp_path / "whole")][:4] == ["nasbenchmacro", "random", "table", "12"]
    for name in ("broken", "cut"):
        assert f"{tmp_path / name / 'study.journal'} is no journal of a study" in result.err
    alone = cli("study", "list", tmp_path / "broken")
    assert alone.status == 2
    assert "is no journal of a study" in alone.message


def test_list_finds_studies_of_run_folders_in_databases(
    cli: Any, file: Path, study: Path, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    for name in ("one", "two"):
        words = ["--set", f"store={url}", "--set", f"name={name}", "--trials", 2]
        made = cli("study", "run", file, "--out", tmp_path / "runs" / name, *words)
        assert made.status == 0, made.err
    shutil.copytree(study, tmp_path / "runs" / "whole")
    (tmp_path / "runs" / "no-study").mkdir()
    (tmp_path / "runs" / "no-study" / "recipe.yaml").write_text("seed: 1\n")
    one = cli("study", "list", tmp_path / "runs" / "one")
    assert one.status == 0, one.err
    assert f"{url}: one" in one.out
    assert f"{url}: two" not in one.out
    several = cli("study", "list", tmp_path / "runs")
    assert [line.split()[-2] for line in several.out.splitlines()[2:]] == ["2", "2", "12"]
    assert find_studies(tmp_path / "runs" / "two") == [(url, "two")]


def test_best_and_pareto_agree_with_the_export(cli: Any, study: Path, tmp_path: Path) -> None:
    assert cli("study", "export", study, "--csv", tmp_path / "a.csv").status == 0
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert len(rows) == 12
    points = {int(row["number"]): (float(row["score"]), -float(row["parameters"])) for row in rows}

    def numbers(*words: object) -> list[int]:
        lines = cli("study", *words).out.splitlines()[2:]
        return [int(line.split()[0]) for line in lines if line.strip()]

    ranked = sorted(points, key=lambda number: -points[number][0])
    assert numbers("best", study, "--count", 4) == ranked[:4]
    front = {
        n
        for n, p in points.items()
        if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in points.values())
    }
    assert set(numbers("pareto", study)) == front


def test_show_tells_of_the_study_and_of_one_trial(cli: Any, study: Path) -> None:
    out = cli("study", "show", study).out
    assert "space       nasbenchmacro" in out
    assert "maximize score, minimize parameters" in out
    one = cli("study", "show", study, 3).out
    assert "trial         3\n" in one or "trial" in one.splitlines()[0]
    assert json.loads(one.splitlines()[-1].split(maxsplit=1)[1])["space"] == "nasbenchmacro"


def test_json_holds_everything(cli: Any, study: Path, tmp_path: Path) -> None:
    from swath.core.architecture import Architecture
    from swath.core.evaluation import Evaluation
    from swath.study.conduct import open_study

    assert cli("study", "export", study, "--json", tmp_path / "a.json").status == 0
    data = json.loads((tmp_path / "a.json").read_text())
    opened = open_study(study)
    assert [
        (Architecture.from_dict(t["architecture"]), Evaluation.from_dict(t["evaluation"]))
        for t in data["trials"]
    ] == [(t.architecture, t.evaluation) for t in opened.trials]
    assert data["study"]["seed"] == 3


def test_plot_writes_pictures(cli: Any, study: Path, tmp_path: Path) -> None:
    result = cli("study", "plot", study, "--out", tmp_path / "plots", "--format", "svg")
    assert result.status == 0, result.err
    assert {p.name for p in (tmp_path / "plots").iterdir()} == {
        f"{name}.svg" for name in ("best", "batches", "scores", "pareto", "genes")
    }


def test_recipes_of_studies_are_listed_and_shown(cli: Any) -> None:
    assert "study-nasbench201-npenas" in cli("recipes").out
    shown = yaml.safe_load(cli("recipes", "show", "study-nasbench201-npenas").out)
    assert shown["strategy"]["name"] == "npenas"
    assert shown["trials"] == 150


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("strategy.name=randon", "no strategy 'randon' (did you mean 'random'?)"),
        ("strategy.options.bach=3", "strategy 'random' has no option 'bach' (did you mean 'batch'"),
        ("estimator.name=tabel", "no estimator 'tabel' (did you mean 'table'?)"),
        ("estimator.options.table=nas_bench_macr", "did you mean 'nas_bench_macro'?"),
        ("space=nasbench210", "no search space 'nasbench210' (did you mean 'nasbench201'?)"),
        ("space=nasbench201", "of space 'nasbenchmacro', not of 'nasbench201'"),
        ("objectives=[scor]", "'scor' (did you mean 'score'?)"),
        ("objectives=[]", "at least one objective"),
        ("constraints.parametres.max=3", "'parametres' (did you mean 'parameters'?)"),
        ("constraints.parameters.maxi=3", "did you mean 'max'?"),
        ("constraints.parameters={min: 9, max: 3}", "leaves nothing to sample"),
        ("constraints.parameters.max=3", "parameters at most 3"),
        ("trials=0", "nothing to do"),
        ("trials=many", "'trials' cannot be 'many'"),
        ("tials=3", "unknown key 'tials' (did you mean 'trials'?)"),
        ("task.scene=a", "takes neither task nor training"),
    ],
)
def test_bad_settings(override: str, message: str, cli: Any, file: Path, tmp_path: Path) -> None:
    result = cli("study", "run", file, "--out", tmp_path / "study", "--set", override)
    assert result.status == 2, result.err
    assert message in result.message
    # No trial was counted, and the corrected command begins where it was to begin.
    if (tmp_path / "study").exists():
        assert cli("study", "best", tmp_path / "study").out == ""
    assert cli("study", "run", file, "--out", tmp_path / "study").status == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "study-nasbench201-npena"], "did you mean 'study-nasbench201-npenas'?"),
        (["run", "hsi3d-quick"], "run it with 'swath search'"),
        (["run", "study-nasbench201-npenas", "--workers", 0], "at least one"),
        (
            ["run", "study-nasbench201-npenas", "--workers", 2, "--scheduler", "tcp://a:1"],
            "give one",
        ),
        (["run", "study-nasbench201-npenas", "--trials", 0], "nothing to do"),
    ],
)
def test_bad_commands(words: list[object], message: str, cli: Any, tmp_path: Path) -> None:
    result = cli("study", *words, "--out", tmp_path / "study")
    assert result.status == 2, result.err
    assert message in result.message


@pytest.mark.parametrize("verb", ["show", "best", "pareto", "list"])
def test_a_folder_without_a_study(verb: str, cli: Any, tmp_path: Path) -> None:
    result = cli("study", verb, tmp_path)
    assert result.status == 2
    assert "no study" in result.message


def test_a_trial_that_is_not_there(cli: Any, study: Path) -> None:
    assert "numbered 0 to 11" in cli("study", "show", study, 99).message


def test_nothing_to_export(cli: Any, study: Path) -> None:
    assert "--csv FILE" in cli("study", "export", study).message


def test_another_study_in_the_folder(cli: Any, file: Path, study: Path) -> None:
    result = cli("study", "run", file, "--out", study, "--seed", 4)
    assert result.status == 2
    assert "seed: there 3, here 4" in result.message


def test_a_study_is_no_run(cli: Any, study: Path, tmp_path: Path) -> None:
    result = cli("search", "study-nasbench201-npenas", "--out", tmp_path / "run")
    assert result.status == 2
    assert "swath study run" in result.message


def test_files_of_a_study_are_not_replaced(cli: Any, study: Path, tmp_path: Path) -> None:
    for words in (
        ["study", "export", study, "--csv", study / "study.journal"],
        ["study", "export", study, "--json", study / "recipe.yaml"],
        ["landscape", study, "--csv", study / "study.journal"],
    ):
        before = words[-1].read_bytes()
        result = cli(*words)
        assert result.status == 2
        assert f"{words[-1]} is read by this command and would be replaced" in result.message
        assert words[-1].read_bytes() == before
    result = cli("study", "export", study, "--csv", tmp_path / "a", "--json", tmp_path / "a")
    assert result.status == 2
    assert "for two things" in result.message
    assert not (tmp_path / "a").exists()


def test_a_study_may_lie_in_the_home_folder(
    cli: Any, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for words in (
        ["run", "~/recipe.yaml", "--out", "~/one", "--trials", 3],
        ["show", "~/one"],
        ["list", "~"],
        ["export", "~/one", "--csv", "~/trials.csv"],
    ):
        result = cli("study", *words)
        assert result.status == 0, result.err
    names = {one.name for one in tmp_path.iterdir()}
    assert names == {file.name, "one", "trials.csv"}
