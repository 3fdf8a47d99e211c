"""The published tables against their own files, and the estimator that looks them up."""

from __future__ import annotations

import ast
import csv
import json
import math
import pickle
import statistics
import time
import timeit
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swath import estimators, spaces
from swath.core.architecture import Architecture
from swath.core.errors import (
    DataError,
    Infeasible,
    InvalidArchitecture,
    RecipeError,
    UnknownName,
)
from swath.core.evaluation import Evaluation
from swath.estimators import tables
from swath.estimators._table import Column, Table
from swath.estimators.tables import TableEstimator
from swath.networks.cost import count_flops, count_parameters
from swath.spaces.base import InputSpec, OutputSpec

Published = Callable[[str], Table]


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# --- the published tables -------------------------------------------------------------------------


def test_nas_bench_201_is_its_file(published: Published, swath_data: Path) -> None:
    table = published("nas_bench_201")
    file = rows(swath_data / "nas_bench_201" / "nas_bench_201.csv")
    assert len(table) == len(file) == 5**6
    assert table.complete
    space: Any = table.space
    pairs = {
        "cifar10-valid@12": "ep12_cifar10-val",
        "cifar10-valid@200": "ep200_landscapes_cifar10valid_valid-accuracy",
        "cifar10-test@12": "ep12_cifar10-test",
        "cifar10-test@200": "ep200_test_cifar10",
        "cifar100-valid@12": "ep12_cifar100-val",
        "cifar100-test@200": "ep200_test_cifar100",
        "imagenet16-120-test@12": "ep12_imagenet-test",
        "imagenet16-120-naswot": "naswot_ImageNet16-120",
    }
    for row in file[::97]:
        architecture = space.from_arch_str(row["arch_str"])
        for column, theirs in pairs.items():
            assert table.value(architecture, column) == float(row[theirs])
        assert table.value(architecture, "cifar10-parameters") == pytest.approx(
            1e6 * float(row["params_cifar10"]), abs=1e-6
        )


def test_nas_bench_201_has_the_published_optima(published: Published) -> None:
    # NAS-Bench-201, Table 5, last row ("optimal"): 94.37, 73.51, 47.31 after 200 epochs.
    table = published("nas_bench_201")
    for metric, best in [
        ("cifar10-test", 94.37),
        ("cifar100-test", 73.51),
        ("imagenet16-120-test", 47.31),
    ]:
        assert round(float(table.column(metric, 200).values.max()), 2) == best


def test_nas_bench_201_parameters_are_those_of_the_network(published: Published) -> None:
    estimator = TableEstimator("nas_bench_201", "cifar100-test")
    space = estimator.search_space()
    architecture = space.sample(np.random.default_rng(0))
    network = space.build(architecture, InputSpec(3), OutputSpec(100))
    assert estimator.cost(architecture).parameters == count_parameters(network)


def test_nas_bench_macro_is_its_file(published: Published, swath_data: Path) -> None:
    table = published("nas_bench_macro")
    file = json.loads((swath_data / "nas_bench_macro" / "nas-bench-macro_cifar10.json").read_text())
    assert table.complete
    assert len(table) == len(file) == 3**8
    space: Any = table.space
    for digits, known in list(file.items())[::53]:
        architecture = space.from_digits(digits)
        runs = [table.value(architecture, f"cifar10-test-{run}") for run in (1, 2, 3)]
        assert runs == known["test_acc"]
        assert table.value(architecture, "cifar10-test") == pytest.approx(statistics.fmean(runs))
        assert table.value(architecture, "cifar10-test-std") == pytest.approx(
            statistics.pstdev(runs)
        )
        assert table.value(architecture, "parameters") == known["params"]
        assert table.value(architecture, "flops") == 2 * known["flops"]


def test_nas_bench_macro_costs_are_those_of_the_network(published: Published) -> None:
    estimator = TableEstimator("nas_bench_macro")
    space = estimator.search_space()
    architecture = space.sample(np.random.default_rng(2))
    network = space.build(architecture, InputSpec(3), OutputSpec(10))
    cost = estimator.cost(architecture)
    assert (cost.parameters, cost.flops) == (count_parameters(network), count_flops(network, 3, 32))


def test_proxies_of_hytas_point_where_they_say(published: Published) -> None:
    from scipy.stats import spearmanr

    for scene in ("indian", "houston", "pavia"):
        table = published(f"hytas_{scene}")
        for column in table.columns.values():
            if column.role == "proxy":
                rho = spearmanr(column.values, table.columns["oa"].values).statistic
                assert (rho > 0) == (column.direction == "maximize"), (scene, column.name)


# Of the authors' files: rows, and the best overall accuracy of each scene.
@pytest.mark.parametrize(
    ("scene", "count", "best"),
    [("indian", 2000, 0.8504), ("houston", 1966, 0.8931), ("pavia", 1999, 0.9139)],
)
def test_hytas_is_its_files(
    published: Published, swath_data: Path, scene: str, count: int, best: float
) -> None:
    table = published(f"hytas_{scene}")
    assert len(table) == count
    assert not table.complete
    assert max(table.listed("oa")) == best
    scored = rows(swath_data / "hytas" / f"{scene}_2000_new_all.csv")
    trained = defaultdict(list)
    for row in rows(swath_data / "hytas" / f"{scene}_retrain.csv"):
        trained[row["embed_dim"], row["num_heads"], row["mlp_ratio"]].append(row)
    space: Any = table.space
    for row in scored[::61]:
        key = row["embed_dim"], row["num_heads"], row["mlp_ratio"]
        embed, heads, ratios = map(ast.literal_eval, key)
        architecture = space.from_lists(embed[0], heads, ratios)
        first = trained[key][0]
        for column, text in [
            ("oa", row["OA"]),
            ("snip", row["snip"]),
            ("naswot", row["NASWOT"]),
            ("flops", row["flops"]),
            ("aa", first["AA"]),
            ("kappa", first["Kappa"]),
            ("parameters", first["num_params_subnet"]),
        ]:
            assert table.value(architecture, column) == float(text)
        hours, minutes, seconds = map(int, first["retrain_time"].split(":"))
        assert table.value(architecture, "seconds") == (hours * 60 + minutes) * 60 + seconds


def test_second_trainings_of_houston_are_told(published: Published, swath_data: Path) -> None:
    table = published("hytas_houston")
    assert table.notes[0].startswith("74 architectures were trained twice")
    trained = defaultdict(list)
    for row in rows(swath_data / "hytas" / "houston_retrain.csv"):
        trained[row["embed_dim"], row["num_heads"], row["mlp_ratio"]].append(float(row["OA"]))
    space: Any = table.space
    for (embed, heads, ratios), accuracies in trained.items():
        architecture = space.from_lists(
            ast.literal_eval(embed)[0], ast.literal_eval(heads), ast.literal_eval(ratios)
        )
        # The authors' merged file holds the first training; so does ours, with its other figures.
        assert table.value(architecture, "oa") == accuracies[0]
        second = table.value(architecture, "oa-second")
        if len(accuracies) == 2:
            assert second == accuracies[1]
        else:
            assert math.isnan(second)
    assert np.isfinite(table.columns["oa-second"].values).sum() == 74
    assert "oa-second" not in published("hytas_indian").columns


@pytest.mark.parametrize("name", sorted(set(tables.KNOWN) - {"hytas_ksc", "hytas_salinas"}))
def test_every_published_table_is_a_search_problem(published: Published, name: str) -> None:
    table = published(name)
    estimator = TableEstimator(name)
    space = estimator.search_space()
    assert space.size() == len(table) == len(set(table.architectures))
    architecture = space.sample(np.random.default_rng(1))
    evaluation = estimator.evaluate(architecture, seed=3)
    assert evaluation == estimator.evaluate(architecture)
    assert Evaluation.from_dict(json.loads(json.dumps(evaluation.to_dict()))) == evaluation
    assert evaluation.cost.parameters is not None
    assert all(column.description or column.role != "score" for column in table.columns.values())
    assert all(column.unit for column in table.columns.values() if column.role == "score")


# --- fast -----------------------------------------------------------------------------------------


def test_a_converted_table_loads_in_50_ms(published: Published, swath_data: Path) -> None:
    published("nas_bench_201")
    took = []
    for _ in range(5):
        tables._load_known.cache_clear()
        begun = time.perf_counter()
        published("nas_bench_201")
        took.append(time.perf_counter() - begun)
    assert min(took) < 0.05


def test_a_query_takes_a_microsecond(published: Published) -> None:
    table = published("nas_bench_201")
    drawn = [table.space.sample(np.random.default_rng(seed)) for seed in range(500)]
    table.value(drawn[0], "cifar100-test@200")

    def query() -> None:
        for architecture in drawn:
            table.value(architecture, "cifar100-test@200")

    assert min(timeit.repeat(query, number=1, repeat=20)) / len(drawn) < 1e-6


# --- the cache ------------------------------------------------------------------------------------


@pytest.fixture
def own_data(swath_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the smallest table's files and an empty cache."""
    folder = tmp_path / "data" / "hytas"
    folder.mkdir(parents=True)
    for part in ("2000_new_all", "retrain"):
        text = (swath_data / "hytas" / f"pavia_{part}.csv").read_text()
        (folder / f"pavia_{part}.csv").write_text(text)
    monkeypatch.setenv("SWATH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SWATH_CACHE", str(tmp_path / "cache"))
    tables._load_known.cache_clear()
    return folder


def test_a_changed_source_is_converted_again(own_data: Path) -> None:
    before = tables.load_table("hytas_pavia")
    path = own_data / "pavia_2000_new_all.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    tables._load_known.cache_clear()
    assert len(tables.load_table("hytas_pavia")) == len(before) - 1


def test_a_damaged_cache_is_made_again(own_data: Path, tmp_path: Path) -> None:
    before = tables.load_table("hytas_pavia")
    converted = tmp_path / "cache" / "tables" / "hytas_pavia.safetensors"
    content = bytearray(converted.read_bytes())
    content[-5] ^= 1
    converted.write_bytes(content)
    tables._load_known.cache_clear()
    assert tables.load_table("hytas_pavia").listed("oa") == before.listed("oa")
    assert converted.read_bytes() != bytes(content)


def test_the_cache_serves_where_the_source_is_gone(
    own_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.load_table("hytas_pavia")
    monkeypatch.delenv("SWATH_DATA")
    tables._load_known.cache_clear()
    assert len(tables.load_table("hytas_pavia")) == 1999
    with pytest.raises(DataError) as error:
        tables.load_table("nas_bench_macro")
    assert str(error.value) == (
        "table 'nas_bench_macro' is not on this machine: put "
        "nas_bench_macro/nas-bench-macro_cifar10.json into $SWATH_DATA or "
        f"{tmp_path / 'cache'}; source: https://github.com/xiusu/NAS-Bench-Macro"
    )


def test_a_cache_that_cannot_be_written_is_done_without(own_data: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    assert len(tables.load_table("hytas_pavia")) == 1999


@pytest.mark.parametrize("scene", ["ksc", "salinas"])
def test_scenes_whose_splits_were_drawn_anew_are_read_and_say_so(
    own_data: Path, scene: str
) -> None:
    for part in ("2000_new_all", "retrain"):
        (own_data / f"pavia_{part}.csv").rename(own_data / f"{scene}_{part}.csv")
    table = tables.load_table(f"hytas_{scene}")
    assert len(table) == 1999
    assert any("its own split" in note for note in table.notes)


def test_a_training_that_is_missing_is_named(own_data: Path) -> None:
    path = own_data / "pavia_retrain.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(DataError, match=r"^line \d+ of .* has no training in pavia_retrain.csv$"):
        tables.load_table("hytas_pavia")


# --- the table ------------------------------------------------------------------------------------


def test_rows_are_the_architectures_in_order(small_table: Table) -> None:
    assert [small_table.row(one) for one in small_table.architectures] == list(range(40))
    accuracy = small_table.columns["accuracy@200"].values
    assert [small_table.value(one, "accuracy@200") for one in small_table.architectures] == list(
        accuracy
    )


def test_genes_in_another_order_are_the_same_architecture(small_table: Table) -> None:
    one = small_table.architectures[7]
    turned = Architecture(one.space, one.genes[::-1])
    assert small_table.row(turned) == 7


def test_an_architecture_that_is_not_there(small_table: Table) -> None:
    space = small_table.space
    absent = next(
        one
        for one in space.neighbours(small_table.architectures[0])
        if one not in small_table.architectures
    )
    with pytest.raises(DataError) as error:
        small_table.row(absent)
    genes = ",".join(f"{gene}={value}" for gene, value in absent.genes)
    assert str(error.value) == (
        f"table 'small' has no architecture {genes}; it has 40 of the 6561 of space 'nasbenchmacro'"
    )
    with pytest.raises(InvalidArchitecture, match="belongs to space 'toy'"):
        small_table.row(Architecture("toy", (("depth", 4),)))


def test_two_rows_of_one_architecture_are_refused(small_table: Table) -> None:
    one, other = small_table.architectures[:2]
    with pytest.raises(DataError, match="twice, in rows 0 and 2; leave one out"):
        Table.of("copy", [one, other, one], [Column("a", np.arange(3.0))], small_table.space)


def test_two_columns_of_one_name_are_refused(small_table: Table) -> None:
    columns = [Column("a", np.zeros(1)), Column("a", np.ones(1))]
    with pytest.raises(DataError, match=r"^table 'copy' has two columns 'a'; rename one$"):
        Table.of("copy", small_table.architectures[:1], columns, small_table.space)


# --- the estimator --------------------------------------------------------------------------------


@pytest.fixture
def small_file(small_table: Table, tmp_path: Path) -> str:
    path = tmp_path / "small.safetensors"
    tables.write_table(small_table, path)
    return str(path)


def test_an_evaluation_is_a_row(small_table: Table, small_file: str) -> None:
    estimator = estimators.create("table", table=small_file, metric="accuracy")
    assert estimator.direction == "maximize"
    assert estimator.budgets == (12, 200)
    one = small_table.architectures[5]
    late, early = estimator.evaluate(one), estimator.evaluate(one, budget=12)
    assert late.score == small_table.columns["accuracy@200"].values[5]
    assert late.score - early.score == pytest.approx(10)
    assert late.metrics == {"loss": small_table.columns["loss@200"].values[5]}
    assert early.metrics == {}
    assert late.cost.parameters == small_table.columns["parameters"].values[5]
    assert estimator.cost(one).parameters == late.cost.parameters
    assert late.cost.flops is None
    losses = TableEstimator(small_file, "loss")
    assert losses.direction == losses.evaluate(one).direction == "minimize"
    assert losses.evaluate(one).merit == -late.metrics["loss"]
    assert TableEstimator(small_file, "accuracy", metrics=()).evaluate(one).metrics == {}


def test_a_gap_is_infeasible(small_table: Table, small_file: str) -> None:
    estimator = TableEstimator(small_file, "accuracy")
    with pytest.raises(Infeasible) as error:
        estimator.evaluate(small_table.architectures[3], budget=12)
    assert str(error.value) == "table 'small' has no accuracy@12 of this architecture"
    assert estimator.evaluate(small_table.architectures[3]).score > 0


def test_a_part_of_a_space_is_searched_alone(small_table: Table, small_file: str) -> None:
    space = TableEstimator(small_file).search_space()
    rng = np.random.default_rng(0)
    drawn = [space.sample(rng) for _ in range(300)]
    assert set(drawn) == set(small_table.architectures)
    assert space.mutate(drawn[0], rng) in small_table.architectures


def test_an_estimator_is_sent_without_its_table(small_file: str, small_table: Table) -> None:
    estimator = TableEstimator(small_file, "loss")
    one = small_table.architectures[0]
    before = estimator.evaluate(one)
    sent = pickle.dumps(estimator)
    assert len(sent) < 500
    assert pickle.loads(sent).evaluate(one) == before


def test_data_sets_have_costs_of_their_own(published: Published) -> None:
    table = published("nas_bench_201")
    space: Any = table.space
    one = space.from_arch_str(
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+"
        "|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"
    )
    parameters = {
        metric: TableEstimator("nas_bench_201", metric).cost(one).parameters
        for metric in ("cifar10-valid", "cifar100-test", "imagenet16-120-test")
    }
    # The three differ in the classifier alone: 64 weights and a bias for each class.
    assert parameters == {
        "cifar10-valid": 802426,
        "cifar100-test": 802426 + 90 * 65,
        "imagenet16-120-test": 802426 + 110 * 65,
    }


def test_unknown_names_are_told_with_the_nearest(small_file: str) -> None:
    with pytest.raises(UnknownName) as error:
        TableEstimator("nas_bench_2001")
    assert str(error.value) == (
        "there is no table or file 'nas_bench_2001' (did you mean 'nas_bench_201'?); known tables: "
        "nas_bench_201, nas_bench_macro, hytas_indian, hytas_houston, hytas_pavia, hytas_ksc, "
        "hytas_salinas"
    )
    with pytest.raises(UnknownName) as error:
        _ = TableEstimator(small_file, "acuracy").direction
    assert str(error.value) == (
        "table 'small' has no metric 'acuracy' (did you mean 'accuracy'?); it has: accuracy, loss, "
        "parameters"
    )


def test_a_budget_that_is_not_there(small_table: Table, small_file: str) -> None:
    one = small_table.architectures[0]
    with pytest.raises(RecipeError) as error:
        TableEstimator(small_file, "accuracy").evaluate(one, budget=50)
    assert (
        str(error.value) == "table 'small' has no 'accuracy' at budget 50; its budgets are: 12, 200"
    )
    with pytest.raises(RecipeError, match="at budget 0; its budgets are: 12, 200"):
        TableEstimator(small_file, "accuracy").evaluate(one, budget=0)


def test_the_space_of_a_table_is_the_registered_one(small_table: Table, small_file: str) -> None:
    loaded = tables.load_table(small_file)
    assert loaded.space.genes == spaces.create("nasbenchmacro").genes
    assert loaded.architectures == small_table.architectures
