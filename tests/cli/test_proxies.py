"""The commands on proxies, from architectures to scores to correlations, and what they refuse."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.stats import kendalltau, spearmanr

from swath import spaces
from swath.estimators import proxies
from swath.estimators.factors import factors
from swath.estimators.scored import read_scores
from swath.estimators.tables import ScoreColumn, convert_csv, load_table, write_table
from swath.spaces.base import InputSpec, OutputSpec

SPACE = ("--space", "hytas", "--option", "max_depth=4", "--option", "embed_dims=[32]")
SMALL = (*SPACE, "--batch", 2, "--device", "cpu")
CELLS = ("--space", "nasbench201", "--window", 8, "--batch", 2, "--device", "cpu")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def own_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty chains whose accuracy grows with the number of large blocks, and a proxy-like loss."""
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    lines = ["net,acc,loss,size"]
    for net in dict.fromkeys("".join(rng.choice(list("012"), 8)) for _ in range(60)):
        large = net.count("2")
        lines.append(f"{net},{large + rng.normal()},{rng.normal() - large},{1000 + 10 * large}")
    (folder / "own.csv").write_text("\n".join(lines) + "\n")
    made = convert_csv(
        folder / "own.csv",
        spaces.create("nasbenchmacro"),
        [ScoreColumn("acc"), ScoreColumn("loss", direction="minimize")],
        architecture="net",
        costs={"parameters": "size"},
    )
    write_table(made, folder / "own.safetensors")
    return folder / "own.safetensors"


@pytest.fixture(scope="module")
def own_scores(own_table: Path) -> Path:
    """Scores of half of the table and of one architecture that is not in it."""
    table = load_table(own_table)
    path = own_table.parent / "scores.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["architecture", "snip", "ntk_condition"])
        for row, one in enumerate(table.architectures[::2]):
            accuracy = table.columns["acc"].values[2 * row]
            writer.writerow([one.to_json(), accuracy**3, -accuracy if row else ""])
        space: Any = table.space
        writer.writerow([space.from_digits("01010101").to_json(), 7, 7])
    return path


def test_every_proxy_is_listed(cli: Any) -> None:
    result = cli("proxies")
    assert result.status == 0, result.err
    for name in proxies.names():
        line = next(line for line in result.out.splitlines() if line.split()[:1] == [name])
        good = {"maximize": "large", "minimize": "small"}[proxies.get(name).direction]
        assert line.split()[2] == good
    one = cli("proxies", "synflow")
    assert "not needed" in one.out
    assert "authors" in one.out
    assert "seg101" in one.out
    assert "did you mean 'synflow'" in cli("proxies", "synflov").message


def test_architectures_are_ranked_and_drawn(cli: Any, tmp_path: Path) -> None:
    result = cli(
        "score", *SMALL, "--proxies", "synflow,snip", "--count", 4, "--per-layer", "--top", 3,
        "--out", tmp_path / "scores.csv", "--plots", tmp_path / "plots", "--format", "svg",
    )  # fmt: skip
    assert result.status == 0, result.err
    found = rows(tmp_path / "scores.csv")
    totals = ["architecture", "synflow", "snip", "parameters", "flops"]
    assert [name for name in found[0] if "/" not in name] == totals
    best = max(found, key=lambda row: float(row["synflow"]))
    first = next(line for line in result.out.splitlines() if line.split()[:1] == ["1"])
    genes = json.loads(best["architecture"])["genes"]
    assert " ".join(map(str, genes.values())) in " ".join(first.split())
    assert f"{int(float(best['parameters'])):,}" in first
    assert "3 of 4 architectures by synflow" in result.out
    pictures = {path.name for path in (tmp_path / "plots").iterdir()}
    assert pictures == {"relations.svg", "layers.svg", "parts.svg"}
    again = cli(
        "score", *SMALL, "--proxies", "synflow,snip", "--architectures", tmp_path / "scores.csv",
        "--out", tmp_path / "again.csv",
    )  # fmt: skip
    assert again.status == 0, again.err
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "scores.csv").read_text()


def test_parts_are_transformed_and_sizes_are_not(cli: Any, tmp_path: Path) -> None:
    found = []
    for transform in ("none", "log-parts"):
        path = tmp_path / f"{transform}.csv"
        result = cli(
            "score", *SMALL, "--proxies", "snip", "--count", 2, "--transform", transform,
            "--out", path,
        )  # fmt: skip
        assert result.status == 0, result.err
        found.append(read_scores(path).columns)
    plain, logarithms = found
    assert logarithms["parameters"].tolist() == plain["parameters"].tolist()
    assert logarithms["flops"].tolist() == plain["flops"].tolist()
    parts = np.log(plain["snip/attention"]) + np.log(plain["snip/mlp"])
    assert logarithms["snip"] == pytest.approx(parts)


def test_layers_without_a_score_are_not_drawn(cli: Any, tmp_path: Path) -> None:
    result = cli(
        "score", *CELLS[:4], "--batch", 1, "--device", "cpu", "--proxies", "zico", "--count", 1,
        "--per-layer", "--plots", tmp_path / "plots",
    )  # fmt: skip
    assert result.status == 0, result.err
    assert "nothing to draw" in result.err
    assert not (tmp_path / "plots").exists()


def test_a_scene_gives_the_batch(cli: Any, scene_file: Path, tmp_path: Path) -> None:
    result = cli(
        "score", *SPACE, "--proxies", "snip", "--count", 2, "--batch", 4, "--scene", scene_file,
        "--label-variable", "labels", "--split", "random", "--train", 5, "--val", 3,
        "--out", tmp_path / "scores.csv", "--plots", tmp_path, "--device", "cpu",
    )  # fmt: skip
    assert result.status == 0, result.err
    found = read_scores(tmp_path / "scores.csv")
    assert {"snip/attention", "snip/mlp"} < set(found.columns)
    # The scene has 8 bands, not the 3 of a random batch: its input layers are larger.
    space = spaces.create("hytas", max_depth=4, embed_dims=(32,))
    network = space.build(found.architectures[0], InputSpec(8), OutputSpec(3))
    assert found.columns["parameters"][0] == sum(one.numel() for one in network.parameters())
    assert (tmp_path / "parts.png").is_file()


def test_bands_of_a_scene_are_chosen(cli: Any, scene_file: Path, tmp_path: Path) -> None:
    of_scene = ("--scene", scene_file, "--label-variable", "labels", "--split", "random")
    result = cli(
        "score", *SMALL, "--proxies", "snip", "--count", 2, *of_scene, "--train", 5, "--val", 3,
        "--bands", "0-2,6", "--out", tmp_path / "scores.csv",
    )  # fmt: skip
    assert result.status == 0, result.err
    found = read_scores(tmp_path / "scores.csv")
    space = spaces.create("hytas", max_depth=4, embed_dims=(32,))
    network = space.build(found.architectures[0], InputSpec(4), OutputSpec(3))
    assert found.columns["parameters"][0] == sum(one.numel() for one in network.parameters())
    # Other four bands of the same scene give networks of the same size other gradients.
    other = cli(
        "score", *SMALL, "--proxies", "snip", "--count", 2, *of_scene, "--train", 5, "--val", 3,
        "--bands", "4-7", "--out", tmp_path / "other.csv",
    )  # fmt: skip
    assert other.status == 0, other.err
    columns = read_scores(tmp_path / "other.csv").columns
    assert (columns["parameters"] == found.columns["parameters"]).all()
    assert (columns["snip"] != found.columns["snip"]).all()
    refused = cli("score", *SMALL, "--proxies", "snip", *of_scene, "--bands", "5-8")
    assert "0 to 7" in refused.message


def test_a_batch_in_chunks(cli: Any, tmp_path: Path) -> None:
    asked = ["score", *SMALL, "--proxies", "grad_norm", "--count", 2, "--batch", 6, "--out"]
    for name, words in {
        "clean": [],
        "theirs": ["--variant", "seg101", "--loss", "cross-entropy"],
        "whole": ["--variant", "seg101", "--loss", "cross-entropy", "--chunks", 1],
    }.items():
        result = cli(*asked, tmp_path / f"{name}.csv", *words)
        assert result.status == 0, result.err
    clean, theirs, whole = (
        [float(row["grad_norm"]) for row in rows(tmp_path / f"{name}.csv")]
        for name in ("clean", "theirs", "whole")
    )
    assert whole == pytest.approx(clean, rel=1e-4)
    assert all(many > 1.5 * one for many, one in zip(theirs, clean, strict=True))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--proxies", "snip"], "give --space"),
        (
            ["--proxies", "snip", "--table", "any", "--option", "a=1"],
            "leave the option or the table",
        ),
        (["--space", "nasbench21", "--proxies", "snip"], "did you mean 'nasbench201'"),
        ([*SMALL, "--proxies", "snpi"], "did you mean 'snip'"),
        ([*SMALL, "--proxies", ","], "the list is empty"),
        ([*SMALL, "--proxies", "snip", "--labels", "x.tif"], "--labels is of a scene"),
        ([*SMALL, "--proxies", "snip", "--bands", "0-4"], "give --scene FILE too"),
        ([*SMALL, "--proxies", "snip", "--bands", "0"], "'0' is no number of bands from 1"),
        ([*SMALL, "--proxies", "snip", "--signs", "non"], "did you mean 'none'"),
        ([*SMALL, "--proxies", "snip", "--option", "x"], "not of the form --option NAME=VALUE"),
        ([*SMALL, "--proxies", "snip", "--table", "nas_bench_macro"], "--table tells space"),
        ([*SMALL, "--proxies", "snip", "--architectures", "none.csv"], "there is no file none.csv"),
        ([*SMALL, "--proxies", "snip", "--chunks", "2"], "leave out chunks"),
        ([*SMALL, "--proxies", "zico", "--variant", "seg101"], "has no proxy 'zico'"),
        ([*SMALL, "--proxies", "snip", "--loss", "hardst"], "did you mean 'hardest'"),
        (
            [*CELLS, "--proxies", "snip", "--transform", "log-parts", "--count", 1],
            "snip of this network has no part of kind",
        ),
    ],
)
def test_what_cannot_be_scored_is_told(cli: Any, words: list[object], message: str) -> None:
    result = cli("score", *words)
    assert result.status == 2
    assert message in result.message


def test_own_scores_are_joined_by_architecture(
    cli: Any, own_table: Path, own_scores: Path, tmp_path: Path
) -> None:
    result = cli(
        "correlate", "--table", own_table, "--scores", own_scores, "--resamples", 50,
        "--csv", tmp_path / "figures.csv", "--by", "number*", "--plots", tmp_path / "plots",
    )  # fmt: skip
    assert result.status == 0, result.err
    found = {row["score"]: row for row in rows(tmp_path / "figures.csv")}
    assert next(iter(found)) == "parameters"
    assert set(found) == {"parameters", "snip", "ntk_condition"}
    assert found["parameters"]["trivial"] == "1"
    assert float(found["snip"]["spearman"]) == pytest.approx(1)
    assert float(found["ntk_condition"]["spearman"]) == pytest.approx(-1)
    assert float(found["ntk_condition"]["top_tenth"]) == 1  # small is good
    half = len(load_table(own_table).architectures[::2])
    assert (found["snip"]["networks"], found["ntk_condition"]["networks"]) == (
        str(half),
        str(half - 1),
    )
    table = load_table(own_table)
    accuracy, size = table.columns["acc"].values[::2], table.columns["parameters"].values[::2]
    expected = spearmanr(size, accuracy).statistic, kendalltau(size, accuracy).statistic
    told = float(found["parameters"]["spearman"]), float(found["parameters"]["kendall"])
    assert told == pytest.approx(expected)
    counts = factors(table.space, table.architectures[::2])
    name, column = next(iter(counts.items()))
    assert name.startswith("number of")
    assert f"{spearmanr(column, accuracy).statistic:.3f}" in result.out.partition("factors")[2]
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        *("parameters.png", "snip.png", "ntk_condition.png", "relations.png")
    }


def test_a_study_is_correlated(cli: Any, own_table: Path, own_scores: Path, tmp_path: Path) -> None:
    recipe = {
        "trials": 40,
        "strategy": {"name": "random", "options": {}},
        "estimator": {"name": "table", "options": {"table": str(own_table)}},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    made = cli("study", "run", tmp_path / "recipe.yaml", "--out", tmp_path / "study")
    assert made.status == 0, made.err
    words = ["correlate", "--study", tmp_path / "study", "--resamples", 0]
    own = cli(*words, "--scores", own_scores, "--csv", tmp_path / "figures.csv")
    assert own.status == 0, own.err
    found = {row["score"]: row for row in rows(tmp_path / "figures.csv")}
    assert float(found["snip"]["spearman"]) == pytest.approx(1)
    assert int(found["snip"]["networks"]) < 40
    told = cli(*words)  # what the estimator told beside the score
    assert told.status == 0, told.err
    assert "loss" in told.out


def odd_scores(own_table: Path, path: Path) -> Path:
    """Scores whose names no file can have, beside one that hardly any network has."""
    table = load_table(own_table)
    names = ["snip[0]", "a b", "a-b", "%", "#", "relations", "few"]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["architecture", *names])
        for row, one in enumerate(table.architectures):
            value = table.columns["acc"].values[row]
            writer.writerow([one.to_json(), *[value] * 6, value if row < 3 else ""])
    return path


def test_scores_of_odd_names_are_each_drawn(cli: Any, own_table: Path, tmp_path: Path) -> None:
    odd = odd_scores(own_table, tmp_path / "odd.csv")
    words = ["correlate", "--table", own_table, "--scores", odd, "--resamples", 0]
    result = cli(*words, "--plots", tmp_path / "plots")
    assert result.status == 0, result.err
    assert {path.stem for path in (tmp_path / "plots").iterdir()} == {
        *("parameters", "snip-0", "a-b", "a-b-2", "score", "score-2", "relations", "relations-2")
    }
    chosen = cli(*words, "--columns", "snip[0]", "--csv", tmp_path / "figures.csv")
    assert chosen.status == 0, chosen.err
    assert [row["score"] for row in rows(tmp_path / "figures.csv")] == ["parameters", "snip[0]"]


def test_a_score_of_few_networks_stops_no_other(cli: Any, own_table: Path, tmp_path: Path) -> None:
    odd = odd_scores(own_table, tmp_path / "odd.csv")
    words = ["correlate", "--table", own_table, "--scores", odd, "--columns", "few,a-b"]
    result = cli(*words, "--resamples", 20, "--csv", tmp_path / "figures.csv")
    assert result.status == 0, result.err
    few = next(line.split() for line in result.out.splitlines() if line.startswith("few"))
    assert few == ["few", "large", *["–"] * 4, "3"]
    found = {row["score"]: row for row in rows(tmp_path / "figures.csv")}
    assert (found["few"]["networks"], found["few"]["spearman"], found["few"]["top_50"]) == (
        *("3", "", ""),
    )
    assert float(found["a-b"]["spearman"]) == pytest.approx(1)


def test_gaps_of_a_table_stop_no_other_column(cli: Any, own_table: Path, tmp_path: Path) -> None:
    table = load_table(own_table)
    with (tmp_path / "gaps.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["net", "acc", "loss", "few", "size"])
        for row, one in enumerate(table.architectures):
            value = table.columns["acc"].values[row]
            writer.writerow([one.to_json(), value, -value, *[row if row < 3 else ""] * 2])
    made = convert_csv(
        tmp_path / "gaps.csv",
        spaces.create("nasbenchmacro"),
        [ScoreColumn("acc"), ScoreColumn("loss"), ScoreColumn("few")],
        architecture="net",
        costs={"parameters": "size"},
    )
    write_table(made, tmp_path / "gaps.safetensors")
    recipe = {
        "trials": 50,
        "strategy": {"name": "random", "options": {}},
        "estimator": {"name": "table", "options": {"table": str(tmp_path / "gaps.safetensors")}},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    run = cli("study", "run", tmp_path / "recipe.yaml", "--out", tmp_path / "study")
    assert run.status == 0, run.err
    own = odd_scores(own_table, tmp_path / "odd.csv")
    of_table = ["--table", tmp_path / "gaps.safetensors", "--scores", own, "--columns", "a-b"]
    for words, sparse, whole in (
        (of_table, "parameters", "a-b"),
        (["--study", tmp_path / "study"], "few", "loss"),
    ):
        result = cli("correlate", *words, "--resamples", 0, "--csv", tmp_path / "figures.csv")
        assert result.status == 0, result.err
        found = {row["score"]: row for row in rows(tmp_path / "figures.csv")}
        assert found[sparse]["spearman"] == ""
        assert int(found[sparse]["networks"]) <= 3
        assert abs(float(found[whole]["spearman"])) == pytest.approx(1)


def test_files_that_are_read_are_not_replaced(
    cli: Any, own_table: Path, own_scores: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_bytes(own_scores.read_bytes())
    chains = ("score", "--space", "nasbenchmacro", "--proxies", "parameters", "--batch", 2)
    for words in (
        [*chains, "--architectures", mine, "--out", mine],
        ["correlate", "--table", own_table, "--scores", mine, "--csv", mine],
        ["correlate", "--table", own_table, "--csv", own_table],
    ):
        result = cli(*words)
        assert result.status == 2
        assert f"{words[-1]} is read by this command and would be replaced" in result.message
    assert mine.read_bytes() == own_scores.read_bytes()
    load_table(own_table)


def test_options_of_a_space_that_are_no_yaml_are_told(cli: Any) -> None:
    result = cli("score", "--space", "hytas", "--proxies", "snip", "--option", "max_depth=[")
    assert result.status == 2
    assert "the value of 'max_depth=[' is not valid YAML" in result.message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give --table NAME"),
        (["--table", "hytas_indain"], "did you mean 'hytas_indian'"),
        (["--table", "{own}"], None),
        (["--table", "{own}", "--columns", "parametres"], "did you mean 'parameters'"),
        (["--table", "{own}", "--metric", "ac"], "did you mean 'acc'"),
        (["--table", "{own}", "--by", "depht"], "no factor 'depht'"),
        (["--table", "{own}", "--study", "x"], "--study has its own objective"),
        (["--table", "{own}", "--scores", "none.csv"], "there is no file none.csv"),
    ],
)
def test_what_cannot_be_correlated_is_told(
    cli: Any, own_table: Path, words: list[str], message: str | None
) -> None:
    given = [own_table if word == "{own}" else word for word in words]
    result = cli("correlate", "--resamples", 0, *given)
    assert result.status == (0 if message is None else 2), result.err
    if message is not None:
        assert message in result.message
