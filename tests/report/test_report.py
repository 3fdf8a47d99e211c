"""The report is one page that loads nothing, shows what a run has and admits what it lacks."""

import base64
import io
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from swath.core.errors import RunError
from swath.report import write_report
from swath.report.words import count, duration, percent, short

MakeRun = Callable[..., Path]
VOID = {"meta", "img", "br", "input", "link", "hr"}


class Page(HTMLParser):
    """Parses a page, checks that tags nest, and keeps tags, texts and addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            if name in {"src", "href", "xlink:href", "action", "data", "srcset"}:
                self.addresses.append(str(value))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def report(folder: Path) -> tuple[str, Page]:
    text = write_report(folder).read_text(encoding="utf-8")
    return text, Page(text)


def change(folder: Path, **changes: object) -> None:
    path = folder / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics.update(changes)
    path.write_text(json.dumps({k: v for k, v in metrics.items() if v is not None}))


def test_a_full_run_shows_everything_and_loads_nothing(run_folder: MakeRun) -> None:
    folder = run_folder()
    text, page = report(folder)
    assert page.addresses
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert "http://" not in text
    assert "https://" not in text
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
    assert "@import" not in text
    assert "url(" not in text
    assert "nan" not in page.text.lower().split()
    metrics = json.loads((folder / "metrics.json").read_text())
    for expected in (
        f"{100 * metrics['test']['oa']:.2f}",
        f"{100 * metrics['test']['aa']:.2f}",
        f"{metrics['test']['kappa']:.4f}",
        "spatial split, map mode ms+ov",
        "142,086 of 3 networks together",
        "1.84 M",
        "4 min 11 s",
        "Simulated scene.",
        "Confusion matrix",
        "Layer 2: width",
        "Operators on every edge",
        "Moves between widths",
        "base_width: 16",
        "swath search --scene indian_pines.mat",
        "torch 2.13.0",
        "class 'Oats' has 20 pixels",
        *(entry["name"] for entry in metrics["classes"]),
        *metrics["test_modes"],
    ):
        assert expected in page.text
    best = json.loads((folder / "best/architecture.json").read_text())["genes"]
    for name, value in best.items():
        if ".op" in name:
            assert str(value) in page.text


def test_the_map_has_the_classes_colours(run_folder: MakeRun) -> None:
    image = pytest.importorskip("PIL.Image")
    from safetensors.numpy import load_file

    folder = run_folder(shape=(40, 60), names=["a", "b", "c"])
    _, page = report(folder)
    decoded = [
        np.asarray(image.open(io.BytesIO(base64.b64decode(a.split(",")[1]))).convert("RGBA"))
        for a in page.addresses[:4]
    ]
    metrics = json.loads((folder / "metrics.json").read_text())
    colours = np.array([[*c["colour"], 255] for c in metrics["classes"]])
    maps = load_file(folder / "split.safetensors")
    prediction = load_file(folder / "map_index.safetensors")["prediction"]
    assert (decoded[0] == colours[prediction]).all()
    labelled = maps["truth"] >= 0
    assert (decoded[1][labelled] == colours[maps["truth"][labelled]]).all()
    assert (decoded[1][~labelled, 3] == 0).all()
    wrong = (maps["split"] == 3) & (maps["truth"] != prediction)
    assert f"({wrong.sum()} of {(maps['split'] == 3).sum()} wrong)" in page.text


def test_pixels_without_data_do_not_look_like_pixels_without_label(run_folder: MakeRun) -> None:
    image = pytest.importorskip("PIL.Image")
    from safetensors.numpy import load_file, save_file

    folder = run_folder(shape=(40, 60))
    assert "no data" not in report(folder)[1].text
    maps = load_file(folder / "map_index.safetensors")
    maps["prediction"] = maps["prediction"].astype(np.int16)
    maps["prediction"][:4, :5] = -1
    save_file(maps, folder / "map_index.safetensors")
    _, page = report(folder)
    assert "no data" in page.text
    shown = image.open(io.BytesIO(base64.b64decode(page.addresses[0].split(",")[1])))
    pixels = np.asarray(shown.convert("RGBA"))
    assert len(np.unique(pixels[:4, :5].reshape(-1, 4), axis=0)) == 1
    assert pixels[0, 0, 3] == 255
    assert not (pixels[4:, 5:] == pixels[0, 0]).all(axis=-1).any()


def test_the_map_comes_from_the_geotiff_where_there_is_no_index(run_folder: MakeRun) -> None:
    rasterio = pytest.importorskip("rasterio")
    from safetensors.numpy import load_file

    folder = run_folder(shape=(40, 60), names=["a", "b", "c"])
    _, before = report(folder)
    prediction = load_file(folder / "map_index.safetensors")["prediction"]
    original = np.array([10, 14, 3])
    metrics = json.loads((folder / "metrics.json").read_text())
    for entry, value in zip(metrics["classes"], original, strict=True):
        entry["original"] = int(value)
    change(folder, classes=metrics["classes"])
    with rasterio.open(
        folder / "map.tif", "w", driver="GTiff", height=40, width=60, count=1, dtype="int16"
    ) as file:
        file.write(original[prediction].astype(np.int16), 1)
    (folder / "map_index.safetensors").unlink()
    _, after = report(folder)
    assert after.addresses[:4] == before.addresses[:4]


def test_large_maps_are_thinned(run_folder: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swath.report.record.LONGEST_SIDE", 20)
    text, page = report(run_folder(shape=(40, 60), names=["a", "b"]))
    assert "One row and column in 3 is shown" in page.text
    assert 'width="20" height="14"' in text


def test_hostile_text_stays_text(run_folder: MakeRun) -> None:
    hostile = "<script>alert('x')</script>\"><img src=https://x.example/a>"
    folder = run_folder(names=[hostile, "b", "c"], shape=(40, 40))
    change(folder, command=hostile, device=hostile, map_mode=hostile, versions={hostile: hostile})
    (folder / "recipe.yaml").write_text(f"preset: '{hostile.replace(chr(39), chr(39) * 2)}'\n")
    path = folder / "best/architecture.json"
    architecture = json.loads(path.read_text())
    architecture["genes"]["cell0.node0.op0"] = hostile
    architecture["options"]["variant"] = hostile
    path.write_text(json.dumps(architecture))
    text, page = report(folder)
    assert "<script" not in text
    assert "script" not in page.tags
    assert page.text.count("<script>alert('x')</script>") > 5
    assert not any("example" in address for address in page.addresses)


def test_a_run_without_search_says_so(run_folder: MakeRun) -> None:
    folder = run_folder()
    shutil.rmtree(folder / "search")
    _, page = report(folder)
    assert "the architecture was given, not searched for" in page.text
    assert "Layer 2: width" in page.text
    assert "Validation accuracy" in page.text


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("metrics.json", "No test figures"),
        ("recipe.yaml", "There is no recipe"),
        ("split.safetensors", "the network's answer everywhere"),
        ("map_index.safetensors", "There is no map of the scene"),
        ("best/architecture.json", "No architecture is recorded"),
        ("training/history.jsonl", "no training history"),
        ("search/operators.json", "operator 3"),
    ],
)
def test_each_missing_file_leaves_a_sentence(
    run_folder: MakeRun, missing: str, sentence: str
) -> None:
    folder = run_folder(shape=(60, 60))
    (folder / missing).unlink()
    _, page = report(folder)
    assert sentence in page.text.replace("’", "'")


def test_the_memory_of_each_phase_stands_beside_its_time(run_folder: MakeRun) -> None:
    folder = run_folder(shape=(60, 60), epochs=4)
    _, page = report(folder)
    assert "most memory, MiB search 4 min 11 s 251.4" in page.text
    for name, mib in (("training", "1,480"), ("mapping", "733"), ("all together", "2,210")):
        assert re.search(rf"{name} [^–]*? {mib} ", page.text)
    cost = json.loads((folder / "metrics.json").read_text())["cost"]
    change(folder, cost=cost | {"peak_memory_by_phase": False, "map_peak_device_memory_mib": 91.5})
    _, page = report(folder)
    assert "most memory so far, MiB" in page.text
    assert "733 and 91 on the GPU" in page.text
    # a run of before memory was counted by phase has times all the same
    change(folder, cost={k: v for k, v in cost.items() if "_peak_" not in k})
    _, page = report(folder)
    assert re.search(r"training 1 min 58 s 118\.2 [^–]* – mapping", page.text)


@pytest.mark.parametrize(
    "part",
    [
        "test", "validation", "test_modes", "map_mode", "confusion", "classes", "cost", "split",
        "scene", "device", "versions", "command",
    ],
)  # fmt: skip
def test_each_missing_figure_is_borne(run_folder: MakeRun, part: str) -> None:
    folder = run_folder(shape=(60, 60), epochs=4)
    change(folder, **{part: None})
    report(folder)


def test_a_folder_with_a_recipe_alone_gives_a_page(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("preset: quick\nspace: hsi3d\n")
    _, page = report(tmp_path)
    assert "search space hsi3d · preset quick" in page.text
    for name in ("Map", "Network", "Search", "Training", "Cost", "Labels and split"):
        assert name in page.text


def test_what_is_no_run_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        write_report(tmp_path / "missing")
    with pytest.raises(RunError, match="holds no run"):
        write_report(tmp_path)
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(RunError, match=r"metrics\.json"):
        write_report(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]


def test_a_broken_map_is_named(run_folder: MakeRun) -> None:
    folder = run_folder(shape=(60, 60), epochs=4)
    (folder / "split.safetensors").write_bytes(b"not a tensor")
    with pytest.raises(RunError, match=r"split\.safetensors"):
        write_report(folder)


def test_a_killed_and_resumed_history_is_read_once_per_step(run_folder: MakeRun) -> None:
    folder = run_folder(shape=(60, 60), epochs=12)
    path = folder / "search/history.jsonl"
    lines = path.read_text().splitlines()
    again = [*lines[:6], lines[6][:40], *lines[4:]]  # killed in line 7, resumed from epoch 4
    plain, _ = report(folder)
    path.write_text("\n".join(again) + "\n")
    resumed, _ = report(folder)
    assert plain == resumed


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        ("random", "a random split leaks"),
        ("spatial", "blocks apart"),
        ("fixed", "given as maps"),
        ("unheard-of", "unheard-of"),
    ],
)
def test_the_split_is_named_with_its_caution(
    run_folder: MakeRun, protocol: str, words: str
) -> None:
    _, page = report(run_folder(shape=(60, 60), epochs=4, protocol=protocol))
    assert words in page.text
    assert ("neighbouring pixels leak" in page.text) == (protocol == "random")


def test_real_scenes_carry_no_banner(run_folder: MakeRun) -> None:
    _, page = report(run_folder(shape=(60, 60), epochs=4, simulated=False))
    assert "Simulated" not in page.text


def test_best_epoch_is_the_one_that_the_search_kept(run_folder: MakeRun) -> None:
    folder = run_folder(shape=(60, 60), epochs=12)
    path = folder / "search/history.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        record["best"] = record["epoch"] in (4, 10)
    records[0]["validation_accuracy"] = 0.999  # more, but of weights only
    records[9]["validation_accuracy"] = 0.95
    path.write_text("\n".join(map(json.dumps, records)))
    _, page = report(folder)
    assert "that of epoch 10, with a validation accuracy of 95.00 %" in page.text


def test_other_spaces_show_their_genes(run_folder: MakeRun) -> None:
    folder = run_folder(shape=(60, 60), epochs=4)
    (folder / "best/architecture.json").write_text(
        json.dumps({"space": "toy", "genes": {"depth": 4, "heads": 3}})
    )
    _, page = report(folder)
    assert "its genes" in page.text
    assert "heads" in page.text


def test_a_broken_architecture_is_said_not_raised(run_folder: MakeRun) -> None:
    folder = run_folder(shape=(60, 60), epochs=4)
    path = folder / "best/architecture.json"
    architecture = json.loads(path.read_text())
    architecture["genes"]["cell1.node0.inputs"] = "0,9"
    path.write_text(json.dumps(architecture))
    _, page = report(folder)
    assert "cannot be drawn: gene 'cell1.node0.inputs'" in page.text


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:Mean of empty")
def test_more_classes_than_a_png_has_colours(run_folder: MakeRun) -> None:
    report(run_folder(names=[f"class {k}" for k in range(300)], shape=(60, 60), epochs=4))


def test_five_nodes_and_four_layers(run_folder: MakeRun) -> None:
    _, page = report(run_folder(shape=(60, 60), epochs=6, layers=4, nodes=5))
    assert "Layer 4: width" in page.text
    assert "From layer 3, width × 2" in page.text


def test_numbers_in_words() -> None:
    assert percent(0.97913) == "97.91 %"
    assert percent(None) == percent(float("nan")) == count(None) == "–"
    assert count(np.int64(142086)) == "142,086"
    assert short(999_950) == "1 M"
    assert [short(v) for v in (512, 1_843_200, 2.5e9)] == ["512", "1.84 M", "2.5 G"]
    assert [duration(s) for s in (6.12, 59.97, 251.4, 3600, 7384)] == [
        "6.1 s", "1 min 00 s", "4 min 11 s", "1 h 00 min", "2 h 03 min",
    ]  # fmt: skip
