"""What the tests of the command line share: a way to run it, a tiny scene, a tiny finished run."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from swath.cli.entry import run

# A run of a few seconds: two epochs of one step, four iterations, of very narrow networks.
TINY = {
    "space.options.base_width": 2,
    "space.options.stem_width": 4,
    "space.options.head_width": 8,
    "space.options.nodes": 1,
    "search.width": 2,
    "search.epochs": 2,
    "search.warmup": 1,
    "search.steps": 1,
    "search.window": 8,
    "search.batch": 2,
    "training.iterations": 4,
    "training.validate_every": 2,
    "training.window": 8,
    "training.batch": 2,
    "mapping.also": "[]",
}
SETTINGS = [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
SPLIT = ["--split", "random", "--train", "5", "--val", "3"]


@dataclass(frozen=True)
class Result:
    """What a command line left."""

    status: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The one line that says what was wrong; anything else fails the test."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


class CommandLine:
    """Runs command lines in this process, and makes tiny inputs for them."""

    def __call__(self, *words: object) -> Result:
        """Run one command line."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = run([str(word) for word in words])
        return Result(status, out.getvalue(), err.getvalue())

    def words(self, scene: object, out: object, *more: object) -> list[object]:
        """Return the words of a tiny search."""
        return ["search", "--scene", scene, "--out", out, *SPLIT, *SETTINGS, *more]

    def search(self, scene: object, out: object, *more: object) -> Result:
        """Run a tiny search."""
        return self(*self.words(scene, out, *more))

    def fields(self, rows: int = 24, columns: int = 24, classes: int = 3) -> np.ndarray:
        """Return a label map of stripes, 1..classes, with an unlabelled edge."""
        labels = np.tile(1 + np.arange(columns) * classes // columns, (rows, 1))
        labels[0] = 0
        return labels.astype(np.uint8)

    def image(self, rows: int = 24, columns: int = 24, bands: int = 6) -> np.ndarray:
        """Return an image whose stripes differ, float32."""
        rng = np.random.default_rng(0)
        means = rng.uniform(100, 200, (4, bands))
        noise = rng.normal(0, 5, (rows, columns, bands))
        return (means[self.fields(rows, columns)] + noise).astype(np.float32)

    def everything(self, folder: Path) -> dict[str, bytes]:
        """Return all that is below a folder."""
        return {
            str(path.relative_to(folder)): b"" if path.is_dir() else path.read_bytes()
            for path in sorted(folder.rglob("*"))
        }


@pytest.fixture(scope="session")
def cli() -> CommandLine:
    """The command line."""
    return CommandLine()


@pytest.fixture(scope="session", autouse=True)
def few_threads() -> None:
    """Let torch compute with one thread."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def scene_file(cli: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny simulated scene, written by the command line."""
    path = tmp_path_factory.mktemp("scene") / "tiny.npz"
    result = cli(
        "data", "simulate", "--rows", 32, "--columns", 32, "--bands", 8, "--classes", 3,
        "--difficulty", 0.2, "--out", path,
    )  # fmt: skip
    assert result.status == 0, result.err
    return path


@pytest.fixture(scope="session")
def trained(
    cli: CommandLine, scene_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Sequence[object], Result]:
    """The folder of a finished tiny run, the command line that made it, and what that printed."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    words = cli.words(scene_file, folder, "--label-variable", "labels")
    result = cli(*words)
    assert result.status == 0, result.err
    return folder, words, result


@pytest.fixture
def arrays(cli: CommandLine, tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Return a function that writes an image and a label map as .npy files."""

    def write(
        cube: np.ndarray | None = None, labels: np.ndarray | None = None
    ) -> tuple[Path, Path]:
        np.save(tmp_path / "image.npy", cli.image() if cube is None else cube)
        np.save(tmp_path / "labels.npy", cli.fields() if labels is None else labels)
        return tmp_path / "image.npy", tmp_path / "labels.npy"

    return write
