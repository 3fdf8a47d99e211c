"""Commands on data: list, info, get, simulate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swath.cli import options
from swath.cli.output import facts, resumable, say, show, table
from swath.core.errors import DataError, nearest

if TYPE_CHECKING:
    from swath.data.catalogue import CatalogueEntry
    from swath.data.tile_catalogue import TileEntry

__all__ = ["app", "fetch_scene"]

app = typer.Typer(help="Scenes: list, describe, download and simulate them.", no_args_is_help=True)


@app.command("list")
def list_scenes() -> None:
    """List the scenes and tiles that are known by name, and which of them are on this machine."""
    from swath.data.catalogue import CATALOGUE, locate
    from swath.data.simulate import SIMULATED
    from swath.data.tile_catalogue import TILE_CATALOGUE, locate_tiles

    rows = [
        (
            key,
            one.title,
            " x ".join(map(str, one.shape)),
            str(len(one.classes)),
            f"{one.labelled:,}",
            "yes" if locate(key).complete else "no",
        )
        for key, one in CATALOGUE.items()
    ]
    show(
        table(
            ("name", "scene", "rows x columns x bands", "classes", "labels", "here"),
            rows,
            right=(3, 4),
        )
    )
    typer.echo()
    sets = [
        (
            key,
            one.title,
            " x ".join(map(str, one.shape)),
            str(len(one.classes)),
            f"{one.count:,}",
            "no" if locate_tiles(key) is None else "yes",
        )
        for key, one in TILE_CATALOGUE.items()
    ]
    show(
        table(
            ("name", "tiles", "rows x columns x bands", "classes", "images", "here"),
            sets,
            right=(3, 4),
        )
    )
    typer.echo(f"\nsimulated: {', '.join(SIMULATED)}")
    typer.echo("'swath data info NAME' tells more, 'swath data get NAME' downloads a scene.")


@app.command("info")
def info(
    name: Annotated[
        str, typer.Argument(help="A name of 'swath data list', or a file.", metavar="NAME|FILE")
    ],
    variable: options.ImageVariable = None,
    axes: options.ImageAxes = None,
) -> None:
    """Describe a scene, tiles or a file: size, classes, where it comes from and where it lies."""
    from swath.data.catalogue import CATALOGUE, entry
    from swath.data.simulate import SIMULATED
    from swath.data.tile_catalogue import TILE_CATALOGUE, tile_entry
    from swath.study.settings import given_path

    known = [*CATALOGUE, *TILE_CATALOGUE, *SIMULATED]
    normal = name.strip().lower().replace("_", "-").replace(" ", "-")
    path = given_path(name, known=normal in known)
    if path is not None:
        _file_info(path, variable, axes)
        return
    if name in SIMULATED:
        typer.echo(f"{name} is simulated when asked for; 'swath data simulate {name}' writes it")
        return
    if normal in TILE_CATALOGUE:
        _tiles_info(tile_entry(normal))
        return
    if normal not in CATALOGUE:
        raise DataError(
            f"there is no file '{name}', and no scene of that name{nearest(normal, known)}; "
            "'swath data list' shows the scenes"
        )
    _scene_info(entry(normal))


@app.command("get")
def get(
    name: Annotated[str, typer.Argument(help="A scene of 'swath data list'.", metavar="NAME")],
    folder: Annotated[
        Path | None,
        typer.Option(help="Where to put it; by default the cache folder.", metavar="FOLDER"),
    ] = None,
) -> None:
    """Download a scene; what was cut off continues, and what arrives is checked."""
    from swath.data.catalogue import entry
    from swath.data.tile_catalogue import TILE_CATALOGUE, where_to_put

    tiles = TILE_CATALOGUE.get(name.strip().lower().replace("_", "-").replace(" ", "-"))
    if tiles is not None:
        raise DataError(f"{tiles.title} is not downloaded; {where_to_put(tiles)}")
    one = entry(name)
    with resumable():
        image, labels = fetch_scene(one.key, folder)
    facts([("image", str(image)), *(("labels", str(path)) for path in labels)])
    typer.echo(f"use it with --scene {one.key}")


@app.command("simulate")
def simulate(
    out: Annotated[Path, typer.Option(help="The file to write, .npz.", metavar="FILE")],
    name: Annotated[
        str | None,
        typer.Argument(help="A simulated scene of 'swath data list'.", metavar="NAME"),
    ] = None,
    rows: Annotated[
        int | None, typer.Option(help="Of an invented scene (96).", min=1, metavar="N")
    ] = None,
    columns: Annotated[
        int | None, typer.Option(help="Of an invented scene (96).", min=1, metavar="N")
    ] = None,
    bands: Annotated[
        int | None, typer.Option(help="Of an invented scene (64).", min=1, metavar="N")
    ] = None,
    classes: Annotated[
        int | None, typer.Option(help="Of an invented scene (6).", min=1, metavar="N")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of every random draw.", min=0, metavar="N")] = 0,
    difficulty: Annotated[
        float, typer.Option(help="0 (easy) to 1.", min=0.0, max=1.0, metavar="D")
    ] = 0.5,
) -> None:
    """Simulate a scene and write it as a file that 'search' reads.

    With a name, from real maps and spectra in SWATH_DATA; without, of any size and invented.
    """
    from swath.core.files import check_writable
    from swath.core.words import counted
    from swath.data.saving import save_scene
    from swath.data.simulate import simulate as simulate_named
    from swath.data.simulate import simulate_demo

    check_writable(out)
    sizes = {"rows": rows, "columns": columns, "bands": bands, "classes": classes}
    chosen = {key: value for key, value in sizes.items() if value is not None}
    if name in (None, "demo-simulated"):
        scene = simulate_demo(seed, difficulty=difficulty, **chosen)
    elif chosen:
        raise DataError(
            f"--{next(iter(chosen))} is of an invented scene, but {name} has a size of its own; "
            "leave one of them out"
        )
    else:
        scene = simulate_named(str(name), seed=seed, difficulty=difficulty)
    path = save_scene(scene, out)
    high, wide, deep = scene.shape
    assert scene.labels is not None
    facts(
        [
            ("scene", f"{scene.name}, {high} x {wide} pixels, {counted(deep, 'band')}"),
            ("labels", f"{scene.labels.classes} classes, {scene.labels.counts().sum():,} pixels"),
            ("file", str(path)),
        ]
    )
    typer.echo(f"use it with --scene {path} --label-variable labels")


def fetch_scene(
    key: str, folder: Path | None = None, retries: int = 3
) -> tuple[Path, tuple[Path, ...]]:
    """Download a scene of the catalogue with a word on how far it is; return its files."""
    import time

    from swath.data.catalogue import download_scene, locate

    if locate(key, None if folder is None else [folder]).complete:
        say(f"{key} is on this machine already")
    said = [0.0]

    def progress(done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - said[0] > 2 or done == total:
            said[0] = now
            of = f" of {total / 1e6:.1f}" if total else ""
            say(f"downloaded {done / 1e6:.1f}{of} MB")

    located = download_scene(key, folder, retries=retries, progress=progress)
    assert located.image is not None
    assert located.labels is not None
    return located.image, located.labels


def _scene_info(one: CatalogueEntry) -> None:
    from swath.data.catalogue import cache_folder, locate

    located = locate(one.key)
    high, wide, deep = one.shape
    if located.image is not None and located.labels is not None:
        here = ", ".join(map(str, (located.image, *located.labels)))
    else:
        names = " and ".join(file.name for file in one.files)
        here = f"not on this machine: put {names} into {cache_folder() / one.key}"
        if one.registration is None:
            here += f", or run 'swath data get {one.key}'"
    addresses = [
        ("address" if index == 0 else "", file.url)
        for index, file in enumerate(file for file in one.files if file.url)
    ]
    facts(
        [
            ("scene", one.title),
            ("sensor", one.sensor),
            ("size", f"{high} x {wide} pixels, {deep} bands"),
            ("source", one.source),
            *((key, str(url)) for key, url in addresses),
            *([("register", one.registration)] if one.registration else []),
            ("files", here),
        ]
    )
    typer.echo()
    rows = [(str(c.value), c.name, f"{c.count:,}") for c in one.classes]
    show(table(("value", "class", "pixels"), [*rows, ("", "all", f"{one.labelled:,}")], right=(2,)))


def _tiles_info(one: TileEntry) -> None:
    from swath.data.tile_catalogue import locate_tiles, where_to_put

    here = locate_tiles(one.key)
    high, wide, deep = one.shape
    facts(
        [
            ("tiles", one.title),
            ("sensor", one.sensor),
            ("size", f"{one.count:,} images of {high} x {wide} pixels, {deep} bands"),
            ("source", one.source),
            ("address", one.page),
            ("classes", ", ".join(f"{value} = {name}" for value, name in one.classes)),
            ("files", f"not on this machine: {where_to_put(one)}" if here is None else str(here)),
        ]
    )
    typer.echo()
    image_end, mask_end = one.ends
    rows = [
        (
            part.name,
            f"{part.images}/NAME{image_end}",
            f"{part.masks}/NAME{mask_end}",
            f"{part.count:,}",
        )
        for part in one.parts
    ]
    show(table(("part", "images", "masks", "count"), rows, right=(3,)))


def _file_info(path: Path, variable: str | None, axes: str | None) -> None:
    from swath.core.words import counted
    from swath.data.readers import open_scene, variables

    arrays = variables(path)
    if arrays:
        listed = [(name, " x ".join(map(str, shape))) for name, shape in arrays.items()]
        show(table(("array", "size"), listed))
        typer.echo()
    scene = open_scene(path, variable=variable, axes=axes)
    high, wide, deep = scene.source.shape
    waves = scene.wavelengths
    facts(
        [
            (
                "image",
                f"{high} x {wide} pixels, {counted(deep, 'band')}, {scene.source.dtype}",
            ),
            ("used bands", str(scene.shape[2])),
            *([("wavelengths", f"{min(waves):g} to {max(waves):g} nm")] if waves else []),
            *([("no data", f"{scene.nodata:g}")] if scene.nodata is not None else []),
            ("coordinates", "yes" if scene.crs else "none"),
            *(("note", note) for note in scene.notes),
        ]
    )
