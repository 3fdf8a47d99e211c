"""The section on a search with a supernet says what its files say, whole, unfinished or old."""

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from scipy import stats

from swath.report.operator_grid import operator_grid
from swath.report.record import read_run
from swath.report.report import render

MakeRun = Callable[..., Path]

GENES = ("0-1", "0-2", "1-2", "0-3", "1-3", "2-3")
OPERATORS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


def child(stage: int, number: int, accuracy: float, parameters: int | None) -> dict[str, Any]:
    genes = {gene: OPERATORS[(number // 5**place) % 5] for place, gene in enumerate(GENES)}
    return {
        "stage": stage,
        "key": f"{stage}.{number}",
        "genes": genes,
        "evaluation": {
            "score": accuracy,
            "direction": "maximize",
            "cost": {"parameters": parameters, "flops": None, "seconds": 0.25, "latency": None},
            "metrics": {"validation_aa": accuracy, "validation_loss": 1 - accuracy},
        },
    }


def stage(number: int, gone: set[tuple[str, str]], left: set[tuple[str, str]]) -> dict[str, Any]:
    """A shrinking of the cell of NAS-Bench-201; ``left`` went before."""
    operators = [
        {
            "gene": gene,
            "value": value,
            "importance": 0.5 + 0.01 * place + 0.05 * OPERATORS.index(value),
            "sensitivity": 0.1,
            "score": 1.0 + place + OPERATORS.index(value) / 7,
            "dropped": (gene, value) in gone,
        }
        for place, gene in enumerate(GENES)
        for value in OPERATORS
        if (gene, value) not in left
    ]
    remaining = {
        gene: [v for v in OPERATORS if (gene, v) not in gone | left] for gene in GENES
    }  # fmt: skip
    size = 1
    for choices in remaining.values():
        size *= len(choices)
    return {
        "stage": number,
        "measure": "score",
        "operators": operators,
        "remaining": remaining,
        "merged": [["0-1", "0-2"]] if number else [],
        "size": size,
    }


FIRST = {("0-1", "none"), ("0-2", "none"), ("1-2", "nor_conv_3x3")}
SECOND = {("0-1", "skip_connect"), ("2-3", "none")}
LAST = [(0.9, 500), (0.95, 400), (0.85, 800), (0.8, 600), (0.95, 300), (0.7, 900)]


@pytest.fixture
def searched(run_folder: MakeRun) -> Callable[..., Path]:
    """Return a function that writes a run whose network a supernet found."""

    def make(
        stages: int = 2,
        last: list[tuple[float, int | None]] = LAST,  # type: ignore[assignment]
        retrain: int = 1,
        taken: int = 0,
        done: bool = True,
    ) -> Path:
        folder = run_folder(shape=(40, 40), names=["a", "b", "c"], epochs=4)
        (folder / "search/operators.json").unlink()
        shrinkings = [stage(0, FIRST, set()), stage(1, SECOND, FIRST)][:stages]
        sizes = [5**6, *(one["size"] for one in shrinkings)]
        epochs = [
            {
                "phase": "supernet", "stage": s, "epoch": 3 * s + e, "epochs": 3 * s + 3,
                "loss": 1 / (3 * s + e), "learning_rate": 0.1, "operators": 30 - 3 * s,
                "size": sizes[s], "seconds": 60.0 * (3 * s + e),
            }
            for s in range(stages + 1)
            for e in (1, 2, 3)
        ]  # fmt: skip
        earlier = [
            child(s, n, 0.2 + 0.1 * s + 0.01 * n, 100 + n) for s in range(stages) for n in range(9)
        ]
        final = [child(stages, n, *figures) for n, figures in enumerate(last)]  # type: ignore[arg-type]
        write(folder / "search/history.jsonl", epochs)
        write(folder / "search/children.jsonl", earlier + (final if done else []))
        if stages:
            (folder / "search/stages.json").write_text(json.dumps({"stages": shrinkings}))
        ranked = sorted(final, key=lambda one: -one["evaluation"]["score"])
        if done:
            best = [
                {
                    "genes": one["genes"],
                    "accuracy": one["evaluation"]["score"],
                    "loss": one["evaluation"]["metrics"]["validation_loss"],
                }
                for one in ranked
            ]
            ranking = {"judged": len(final), "remaining": sizes[-1], "best": best}
            (folder / "search/ranking.json").write_text(json.dumps(ranking))
        (folder / "best/architecture.json").write_text(
            json.dumps({"space": "nasbench201", "genes": ranked[taken]["genes"], "options": {}})
        )
        section = {"strategy": "se-nas" if stages else "spos", "retrain": retrain}
        (folder / "recipe.yaml").write_text(yaml.safe_dump({"one_shot": section}))
        return folder

    return make


def write(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def section(folder: Path) -> str:
    """The section of the page, and its words without tags."""
    shown = render(read_run(folder))
    return re.search(r"<section><h2>Search</h2>.*?</section>", shown, re.DOTALL)[0]  # type: ignore[index]


def text(shown: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", shown)))


def test_words_and_tables_are_those_of_the_files(searched: Callable[..., Path]) -> None:
    shown = section(searched())
    told = text(shown)
    for expected in (
        "trained for 9 epochs in 3 stages",
        "5 in all: of 15,625 architectures 4,800 remained",
        "The strategy se-nas then judged 6 of the 4,800 architectures",
        "(24 children in all stages)",
        "The first has a validation accuracy of 95.00 %, as have 1 more",
        "It was taken.",
        "a little too good",
        "To judge one took 0.25 s, the training until its last epoch 9 min 00 s",
        "1 3 30 15,625 9 20.00 % 24.00 % 28.00 % 3 none",
        "2 3 27 8,000 9 30.00 % 34.00 % 38.00 % 2 2",
        "3 3 24 4,800 6 70.00 % 87.50 % 95.00 % – –",
        "1 95.00 % 0.05 400 taken",
        "2 95.00 % 0.05 300",
        "5 80.00 % 0.2 600",
    ):
        assert expected in told, expected
    assert shown.count('class="divider"') == 4  # two new stages, in two charts


def test_the_trivial_rival_is_the_largest_child(searched: Callable[..., Path]) -> None:
    told = text(section(searched()))
    accuracies, sizes = zip(*LAST, strict=True)
    rho = stats.spearmanr(sizes, accuracies).statistic
    assert f"is {rho:.2f} over 6 children" in told
    assert "largest network judged, of 900 parameters, would have given 70.00 % (place 6 of 6)" in (
        told
    )
    assert "the first has 95.00 % with 400" in told
    alone = text(section(searched(last=[(0.5, 1), (0.6, 2), (0.9, 3)])))
    assert "taking that would have done as well" in alone


def test_the_grid_tells_of_every_operator_when_it_left() -> None:
    shrinkings = [stage(0, FIRST, set()), stage(1, SECOND, FIRST)]
    drawn = operator_grid(shrinkings, {"0-1": "avg_pool_3x3", "2-3": "nor_conv_1x1"})
    assert drawn is not None
    told = dict(re.findall(r"<title>(\S+ \S+): [\d.]+, (.*?)</title>", drawn))
    assert len(told) == 30
    for gene, value in ((g, v) for g in GENES for v in OPERATORS):
        expected = "stayed"
        for number, gone in ((1, FIRST), (2, SECOND)):
            if (gene, value) in gone:
                expected = f"left after stage {number}"
        assert told[f"{gene} {value}"] == expected
    assert drawn.count(">1<") == len(FIRST)
    assert drawn.count(">2<") == len(SECOND)
    assert drawn.count('class="outline"') == 2


def test_shades_of_the_grid_follow_importance() -> None:
    drawn = operator_grid([stage(0, set(), set())], {})
    assert drawn is not None
    cells = re.findall(r'fill-opacity="([\d.]+)"><title>\S+ \S+: ([\d.]+)', drawn)
    shades = [float(shade) for shade, _ in sorted(cells, key=lambda cell: float(cell[1]))]
    assert shades == sorted(shades)
    assert shades[0] < 0.2 < 0.7 < shades[-1] <= 1


def test_genes_of_other_choices_have_columns_of_their_own() -> None:
    operators = [
        {"gene": gene, "value": value, "importance": 0.5, "score": 1.0, "dropped": False}
        for gene, values in (("width", (1, 2)), ("op0", ("a", "b", "c")), ("op1", ("a", "c")))
        for value in values
    ]
    drawn = operator_grid([{"operators": operators}], {"width": 2})
    assert drawn is not None
    heads = re.findall(r'class="mono middle">(\w+)<', drawn)
    assert heads == ["1", "2", "a", "b", "c"]
    assert drawn.count("<title>") == 7
    assert drawn.count('class="outline"') == 1
    assert operator_grid([], {}) is None


def test_equal_scores_are_told(searched: Callable[..., Path]) -> None:
    folder = searched()
    assert "had the same score" not in text(section(folder))
    path = folder / "search/stages.json"
    data = json.loads(path.read_text())
    for one in data["stages"][1]["operators"]:
        one["score"] = None  # infinite: all importances of a gene are equal
    path.write_text(json.dumps(data))
    told = text(section(folder))
    assert "After stage 2, 2 of the 2 operators that left had the same score as some" in told
    assert "After stage 1," not in told


def test_a_search_without_stages(searched: Callable[..., Path]) -> None:
    shown = section(searched(stages=0))
    told = text(shown)
    assert "trained for 3 epochs on the whole space of 15,625 architectures" in told
    assert "The strategy spos then judged 6 of the 15,625" in told
    assert "The best of the ranking" in told
    assert "The trivial rival" in told
    assert "Stages" not in told
    assert 'class="divider"' not in shown


def test_retrained_candidates_are_told_with_the_place_of_the_one_taken(
    searched: Callable[..., Path],
) -> None:
    told = text(section(searched(retrain=3, taken=2)))
    assert "The first 3 were trained on their own" in told
    assert "was taken: number 3." in told
    assert "3 90.00 % 0.1 500 taken" in told
    beyond = text(section(searched(retrain=6, taken=5)))
    assert "6 70.00 % 0.3 900 taken" in beyond


def test_old_runs_have_no_sizes(searched: Callable[..., Path]) -> None:
    told = text(section(searched(last=[(accuracy, None) for accuracy, _ in LAST])))
    assert "Too few sizes of judged networks are recorded" in told
    assert "1 95.00 % 0.05 – taken" in told
    assert "Accuracy by size" not in told


@pytest.mark.parametrize("missing", ["children.jsonl", "stages.json", "ranking.json"])
def test_each_missing_file_is_borne(searched: Callable[..., Path], missing: str) -> None:
    folder = searched()
    (folder / "search" / missing).unlink()
    assert "Training loss of the supernet" in section(folder)


def test_an_unfinished_search_says_so_and_broken_lines_are_passed_over(
    searched: Callable[..., Path],
) -> None:
    folder = searched(done=False)
    before = section(folder)
    assert "has not come to its end" in before
    for name in ("history.jsonl", "children.jsonl"):
        path = folder / "search" / name
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join([*lines[:2], lines[1], *lines[2:], '{"stage": 1, "evalu']))
    assert section(folder) == before


def test_the_network_is_drawn_with_its_genes(searched: Callable[..., Path]) -> None:
    shown = render(read_run(searched()))
    network = shown[shown.index("<h2>Network") : shown.index("<h2>Search")]
    assert 'class="graph"' in network
    assert "<h3>Genes</h3>" in network
    assert all(f">{gene}</th>" in network for gene in GENES)
