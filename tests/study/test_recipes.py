"""Recipes: those that come with swath, layers, overrides, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from swath import spaces
from swath.api.resolving import resolve_call
from swath.core.architecture import Architecture
from swath.core.errors import RecipeError
from swath.study.recipes import Recipe, load_recipe, preset_names, resolve
from swath.study.settings import TaskSettings
from swath.study.study_recipe import resolve_study
from swath.study.tile_tasks import TileTaskSettings
from swath.tasks.label_patches import PatchSampler


def test_the_presets_of_every_space_are_there() -> None:
    assert {"hsi3d-paper", "hsi3d-standard"} <= set(preset_names())
    assert {f"{space}-quick" for space in spaces.names()} <= set(preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_shipped_recipes_are_valid(name: str) -> None:
    recipe = resolve(load_recipe(name))
    space = spaces.create(recipe.space.name, **recipe.space.options)
    assert space.size() > 1
    assert recipe.search.warmup < recipe.search.epochs
    # every key in the file is one of the recipe's, with the value that was written
    dumped = recipe.model_dump(mode="json")

    def check(written: dict[str, Any], found: dict[str, Any]) -> None:
        for key, value in written.items():
            if isinstance(value, dict):
                check(value, found[key])
            else:
                assert found[key] == value, key

    check(load_recipe(name), dumped)


def test_the_paper_preset_has_the_papers_values() -> None:
    """The paper's values, also where the authors' code has others."""
    recipe = resolve(load_recipe("hsi3d-paper"))
    search, training = recipe.search, recipe.training
    assert (search.epochs, search.warmup, search.pool, search.steps) == (100, 20, 200, 200 // 5)
    assert (search.width, search.mode, search.schedule) == (8, "full", "cosine")
    assert (training.iterations, training.batch, training.window) == (600_000, 12, 32)
    assert (training.learning_rate, training.schedule, training.clip_value) == (0.1, "poly", 5.0)
    assert (training.bias_rate, training.weight_decay, training.validate_every) == (2.0, 4e-5, 100)
    assert (recipe.task.scaling, recipe.task.split) == ("max", "random")
    assert (recipe.task.train, recipe.task.validation) == (20, 10)
    assert recipe.mapping.scales == (16, 32, 48)
    assert spaces.create("hsi3d", **recipe.space.options).options == spaces.create("hsi3d").options


@pytest.mark.parametrize(
    ("name", "labels", "updates", "group"),
    [("indian-pines", 695, 1, 3), ("houston", 2832, 8, 3), ("pavia-university", 3921, 12, 7)],
)
def test_hytas_recipes_have_the_published_values(
    name: str, labels: int, updates: int, group: int
) -> None:
    """Training labels, updates an epoch of the released code, and bands a token sees."""
    recipe = resolve(load_recipe(f"hytas-{name}"))
    assert recipe.task.train_counts is not None
    assert sum(recipe.task.train_counts) == labels
    training = recipe.training
    targets = np.zeros((labels, 1), np.int64)
    sampler = PatchSampler(torch.zeros(1, labels, 1), targets, 7, 0, "repeated")
    assert sampler.epoch_updates(training.batch) == updates
    assert training.iterations == 300 * updates
    assert training.rate(0.0) == pytest.approx(1e-6)
    assert training.rate(training.warmup) == pytest.approx(5e-4 * 64 * 5 / 512)
    assert training.warmup * 300 == pytest.approx(5, rel=1e-5)
    assert training.rate(1.0) == pytest.approx(1e-5)
    space = spaces.create("hytas", **recipe.space.options)
    assert space.options == {**spaces.create("hytas").options, "group": group}


@pytest.mark.parametrize("name", preset_names())
def test_a_resolved_recipe_reads_as_itself(name: str, tmp_path: Path) -> None:
    space = spaces.create("hsi3d")
    architecture = space.sample(np.random.default_rng(0))
    of_tiles = load_recipe(name).get("task", {}).get("kind") == "tiles"
    source = {"source": "a: strange\nname"} if of_tiles else {"scene": "a: strange\nname.tif"}
    ignored = {"ignore": [0, 255]} if of_tiles else {"bands": "0", "unlabelled": [0, 255]}
    value = "threshold" if of_tiles else "nodata"
    recipe = resolve(
        load_recipe(name),
        {
            "seed": 7,
            "task": {**source, **ignored},
            "architecture": {"space": "hsi3d", "genes": architecture.as_dict()},
        },
        overrides=["training.weight_decay=1e-07", f"task.{value}=-1.5e300"],
    )
    text = recipe.to_yaml()
    (tmp_path / "recipe.yaml").write_text(text)
    again = resolve(load_recipe(tmp_path / "recipe.yaml"))
    assert again == recipe
    assert again.to_yaml() == text
    assert again.architecture is not None
    assert Architecture.from_dict(again.architecture) == architecture
    # every default is written out
    written = yaml.safe_load(text)
    assert written.keys() == Recipe.model_fields.keys()
    assert len(written["search"]) > 15
    assert len(written["training"]) > 15


def test_later_layers_win() -> None:
    recipe = resolve(
        load_recipe("hsi3d-quick"),
        {"search": {"epochs": 40, "pool": 50}, "task": {"scene": "x"}, "seed": 3},
        {"search": {"epochs": 50, "pool": None}},
        overrides=["search.epochs=60", "seed=4"],
        preset="quick",
    )
    assert (recipe.search.epochs, recipe.seed, recipe.preset) == (60, 4, "quick")
    assert recipe.search.warmup == load_recipe("hsi3d-quick")["search"]["warmup"]
    assert recipe.search.pool is None
    assert recipe.search.mode == "sampled"  # what no layer names stays


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("search.epochs=50", "search", "epochs", 50),
        ("search.warmup=0", "search", "warmup", 0),
        ("training.learning_rate=3e-4", "training", "learning_rate", 3e-4),
        ("training.clip_value=null", "training", "clip_value", None),
        ("search.pool=null", "search", "pool", None),
        ("search.cell_sharing=false", "search", "cell_sharing", False),
        ("mapping.also=[plain, ms]", "mapping", "also", ("plain", "ms")),
        ("task.labels=a=b.mat", "task", "labels", "a=b.mat"),
        ("task.unlabelled=[]", "task", "unlabelled", ()),
        ("space.options.base_width=4", "space", "options", {"variant": "asym-d", "base_width": 4}),
    ],
)
def test_overrides(override: str, section: str, key: str, value: object) -> None:
    recipe = resolve(load_recipe("hsi3d-paper"), overrides=[override])
    assert getattr(getattr(recipe, section), key) == value


def test_options_are_laid_over_a_name_alone() -> None:
    recipe = resolve({"space": "hytas"}, overrides=["space.options.patch=5"])
    assert (recipe.space.name, recipe.space.options) == ("hytas", {"patch": 5})
    layers = {"space": "nasbench201", "strategy": "evolution", "estimator": "table"}
    changes = ["strategy.options.population=5", "estimator.options.table=nas_bench_201"]
    study = resolve_study(layers, overrides=[*changes, "space.options.patch=5"])
    assert study.space is not None
    assert (study.space.name, study.space.options) == ("nasbench201", {"patch": 5})
    assert (study.strategy.name, study.strategy.options) == ("evolution", {"population": 5})
    assert study.estimator.options == {"table": "nas_bench_201"}
    # A name over a name and its options leaves these behind.
    other = resolve({"space": {"name": "hytas", "options": {"patch": 5}}}, {"space": "darts"})
    assert (other.space.name, other.space.options) == ("darts", {})


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"serach": {}}, "unknown key 'serach' .did you mean 'search'"),
        ({"search": {"epoch": 3}}, r"unknown key 'search\.epoch' .did you mean 'epochs'"),
        ({"training": {"iteration": 3}}, r"'training\.iteration' .did you mean 'iterations'"),
        ({"task": {"trian": 3}}, r"unknown key 'task\.trian' .did you mean 'train'"),
        ({"mapping": {"modes": "ms"}}, r"unknown key 'mapping\.modes' .did you mean 'mode'"),
        ({"space": {"option": {}}}, r"unknown key 'space\.option' .did you mean 'options'"),
        ({"search": {"epochs": "many"}}, r"'search\.epochs' cannot be 'many'"),
        ({"search": {"mode": "half"}}, r"'search\.mode' cannot be 'half'.*'full' or 'sampled'"),
        ({"search": {"epochs": 0}}, r"search\.epochs must be at least 1, not 0"),
        ({"search": {"warmup": 100}}, r"search\.warmup must be less than search\.epochs"),
        ({"training": {"schedule": "polly"}}, "no schedule 'polly' .did you mean 'poly'"),
        ({"training": 3}, "'training' cannot be 3"),
        ({"task": {"train": 0}}, r"'task\.train' cannot be 0"),
        ({"mapping": {"also": ["plain", "best"]}}, "'best'"),
        ({"mapping": {"scales": [16, 0]}}, r"'mapping\.scales\.1' cannot be 0"),
        ({"mapping": {"scales": []}}, r"'mapping\.scales' cannot be \[\]"),
        ({"search": {"batch": 2.5}}, r"'search\.batch' cannot be 2.5"),
        ({"search": {"width": None}}, r"'search\.width' cannot be None"),
        ({"training": {"iterations": True}}, r"'training\.iterations' cannot be True: give a num"),
        ({"task": {"train": True}}, r"'task\.train' cannot be True"),
        ({"seed": False}, r"'seed' cannot be False"),
    ],
)
def test_what_cannot_be_used_is_named(layer: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        resolve(layer)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("search.epochs", "'search.epochs' is no override; write section.key=value"),
        ("=3", "is no override"),
        ("search.epochs=[", "is not valid YAML"),
        ("search.epoch=3", "did you mean 'epochs'"),
        ("search.width=null", r"'search\.width' cannot be None"),
    ],
)
def test_overrides_that_cannot_be_used(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        resolve(overrides=[override])


def test_files_that_are_no_recipes(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'hsi3d-quik' .did you mean 'hsi3d-quick'"):
        load_recipe("hsi3d-quik")
    for name, content, message in (
        ("empty.yaml", "", "empty or no mapping"),
        ("list.yaml", "- 1\n", "empty or no mapping"),
        ("broken.yaml", "a: [", "not valid YAML"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(RecipeError, match=message):
            load_recipe(tmp_path / name)


def test_nothing_is_built_from_yaml(tmp_path: Path) -> None:
    """No tag of a recipe may run code."""
    (tmp_path / "evil.yaml").write_text("seed: !!python/object/apply:os.getpid []\n")
    with pytest.raises(RecipeError, match="not valid YAML"):
        load_recipe(tmp_path / "evil.yaml")


@given(
    epochs=st.integers(1, 500),
    share=st.floats(0, 0.99),
    rate=st.floats(1e-8, 10),
    seed=st.integers(0, 2**31),
    text=st.text(
        st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff"),
        max_size=12,
    ),
)
def test_any_values_survive_the_file(
    epochs: int, share: float, rate: float, seed: int, text: str
) -> None:
    recipe = resolve(
        {
            "seed": seed,
            "task": {"scene": text},
            "search": {"epochs": epochs, "warmup": int(share * epochs), "learning_rate": rate},
        }
    )
    assert resolve(yaml.safe_load(recipe.to_yaml())) == recipe


@pytest.mark.parametrize(
    ("given", "kind"),
    [({}, TaskSettings), ({"kind": "scene"}, TaskSettings), ({"kind": "tiles"}, TileTaskSettings)],
)
def test_a_task_is_of_the_kind_it_names(given: dict[str, Any], kind: type) -> None:
    recipe = resolve({"task": given})
    assert type(recipe.task) is kind
    # the resolved recipe, every default written out, reads as itself
    assert resolve(yaml.safe_load(recipe.to_yaml())) == recipe


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"kind": "patches"}, "search with 'swath study run'"),
        ({"kind": "tile"}, r"no kind of task 'tile' \(did you mean 'tiles'"),
        ({"kind": "tiles", "scene": "pavia"}, r"unknown key 'task\.scene'"),
        ({"kind": "tiles", "treshold": 3}, "did you mean 'threshold'"),
        ({"source": "folder"}, r"unknown key 'task\.source'"),
    ],
)
def test_what_is_of_another_kind_of_task_is_refused(task: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        resolve({"task": task})


def test_a_network_is_named_with_or_without_options() -> None:
    plain, full = (
        resolve({"network": given}).network
        for given in ("unet", {"name": "unet", "options": {"backbone": "narrow"}})
    )
    assert plain is not None
    assert full is not None
    assert (plain.name, plain.options) == ("unet", {})
    assert (full.name, full.options) == ("unet", {"backbone": "narrow"})
    over = resolve({"network": {"name": "unet"}}, overrides=["network.options.backbone=narrow"])
    assert over.network == full
    assert resolve(yaml.safe_load(over.to_yaml())) == over


def test_the_task_of_a_preset_is_that_of_its_kind_alone(tmp_path: Path) -> None:
    of_tiles = resolve_call({}, tiles=tmp_path, space="seg101")
    assert isinstance(of_tiles.task, TileTaskSettings)
    assert of_tiles.task.source == str(tmp_path)
    of_scene = resolve_call({}, scene=tmp_path / "a.tif", space="seg101")
    assert isinstance(of_scene.task, TaskSettings)
    assert of_scene.task == TaskSettings(scene=str(tmp_path / "a.tif"))
    assert of_scene.space == of_tiles.space
    other = resolve_call({}, tiles=tmp_path, space="hsi3d")
    assert other.task == TileTaskSettings(source=str(tmp_path))


def test_a_comparator_stands_on_the_backbone_of_the_recipe(tmp_path: Path) -> None:
    def options(**given: Any) -> dict[str, Any]:
        recipe = resolve_call({}, tiles=tmp_path, network="fcn", **given)
        assert recipe.network is not None
        assert recipe.study is None
        return recipe.network.options

    assert options() == {"backbone": "narrow"}  # of seg101-quick
    assert options(recipe={"space": {"name": "seg101"}}) == {}
    own = ["network.options.backbone=regnet_x_800mf"]
    assert options(overrides=own) == {"backbone": "regnet_x_800mf"}


def test_published_recipes_of_se_nas_keep_to_its_sizes_and_rates() -> None:
    """SE-NAS: one cell of DARTS, 8^14; MobileNet's rate 0.5 is that of a batch of 1024."""
    darts = resolve(load_recipe("darts-senas"))
    space = spaces.create(darts.space.name, **darts.space.options)
    assert space.size() == 8**14
    mobile = resolve(load_recipe("mobilenet-senas"))
    search = mobile.one_shot
    assert search is not None
    assert (search.training.batch, search.training.learning_rate) == (1024, 0.5)
    assert mobile.training.learning_rate == pytest.approx(0.5 * mobile.training.batch / 1024)
    assert (search.retrain, search.training.decayed) == (2, "layers")


@pytest.mark.parametrize("name", ["indian-pines", "houston", "pavia-university"])
def test_published_recipes_of_hytas_keep_the_last_weights(name: str) -> None:
    assert resolve(load_recipe(f"hytas-{name}")).training.keep == "last"
