"""Downloads, against servers on the loopback address that behave badly."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from swath.core.errors import DataError
from swath.data.download import fetch, sha256_of

CONTENT = np.random.default_rng(0).bytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT; the attributes say how it misbehaves."""

    daemon_threads = True
    cut_after: int | None = None  # bytes of each answer
    answers: list[int]  # status codes to give before behaving
    ranges = True
    content = CONTENT
    kind = "application/octet-stream"
    requests: list[str | None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/scene.mat"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requests.append(wanted)
        if self.server.answers:
            status = self.server.answers.pop(0)
            if status >= 400:
                self.send_error(status)
                return
        body, start = self.server.content, 0
        if wanted and self.server.ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        rest = body[start:]
        self.send_header("Content-Type", self.server.kind)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: self.server.cut_after])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    server = Server(("127.0.0.1", 0), Handler)
    server.answers, server.requests = [], []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def get(server: Server, tmp_path: Path) -> Callable[..., Path]:
    def get(**options: object) -> Path:
        target = tmp_path / "folder" / "scene.mat"
        return fetch(server.url, target, **{"wait": 0.0, "timeout": 5.0, **options})  # type: ignore[arg-type]

    return get


def test_file_progress_and_no_second_download(server, get):
    seen = []
    path = get(sha256=DIGEST, size=len(CONTENT), progress=lambda *at: seen.append(at))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [at for at, _ in seen] == sorted(at for at, _ in seen)
    assert [entry.name for entry in path.parent.iterdir()] == ["scene.mat"]
    get(sha256=DIGEST)
    assert len(server.requests) == 1
    assert sha256_of(path) == DIGEST


def test_resumes_where_it_was_cut(server, get):
    server.cut_after = 100_000
    path = get(sha256=DIGEST, retries=0)  # progress is no failure
    assert path.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=100000-", "bytes=200000-"]


def test_a_later_call_resumes_the_part_file(server, get, tmp_path):
    part = tmp_path / "folder" / "scene.mat.part"
    part.parent.mkdir()
    part.write_bytes(CONTENT[:1234])
    assert get().read_bytes() == CONTENT
    assert server.requests == ["bytes=1234-"]
    assert not part.exists()


def test_a_complete_part_file_is_taken(server, get, tmp_path):
    part = tmp_path / "folder" / "scene.mat.part"
    part.parent.mkdir()
    part.write_bytes(CONTENT)
    assert get(sha256=DIGEST).read_bytes() == CONTENT
    assert server.requests == [f"bytes={len(CONTENT)}-"]


@pytest.mark.parametrize("length", [500, 400_000])
def test_a_wrong_part_file_starts_again(server, get, tmp_path, length):
    part = tmp_path / "folder" / "scene.mat.part"
    part.parent.mkdir()
    part.write_bytes(b"x" * length)
    assert get(sha256=DIGEST).read_bytes() == CONTENT
    assert server.requests[-1] is None


def test_server_without_ranges_starts_again(server, get, tmp_path):
    server.ranges = False
    part = tmp_path / "folder" / "scene.mat.part"
    part.parent.mkdir()
    part.write_bytes(b"x" * 500)
    assert get(sha256=DIGEST).read_bytes() == CONTENT
    assert server.requests == ["bytes=500-"]


def test_server_without_ranges_that_always_cuts_ends(server, get):
    server.ranges, server.cut_after = False, 1000
    with pytest.raises(DataError, match="cut after 1000 of 300000 bytes"):
        get(retries=2)
    assert len(server.requests) == 4  # the first brought something new, three did not


@pytest.mark.parametrize("expected", [{"sha256": "0" * 64}, {"size": len(CONTENT) + 1}])
def test_wrong_checksum_or_size(server, get, tmp_path, expected):
    folder = tmp_path / "folder"
    with pytest.raises(DataError, match=r"instead of.*put it at .*scene\.mat"):
        get(retries=1, **expected)
    assert len(server.requests) == 2
    assert list(folder.iterdir()) == []


def test_a_wrong_file_in_place_stays_until_replaced(server, get, tmp_path):
    path = tmp_path / "folder" / "scene.mat"
    path.parent.mkdir()
    path.write_bytes(b"mine")
    server.answers = [404]
    with pytest.raises(DataError):
        get(sha256=DIGEST)
    assert path.read_bytes() == b"mine"
    assert get(sha256=DIGEST).read_bytes() == CONTENT


def test_not_found_is_not_tried_again(server, get):
    server.answers = [404, 404]
    with pytest.raises(DataError, match=r"404.*download it by other means and put it at"):
        get()
    assert len(server.requests) == 1


def test_temporary_errors_are_tried_again(server, get):
    server.answers = [503, 500, 429]
    assert get(retries=3).read_bytes() == CONTENT
    server.answers = [503] * 9
    with pytest.raises(DataError, match="503"):
        get(retries=2, sha256="0" * 64)
    assert len(server.requests) == 4 + 3


def test_web_page_instead_of_the_file(server, get):
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(DataError, match="web page"):
        get(retries=0)


def test_no_server_and_no_address(server, get, tmp_path):
    with pytest.raises(DataError, match=r"Connection refused.*put it at"):
        fetch("http://127.0.0.1:9/x.mat", tmp_path / "x.mat", retries=1, wait=0.0)
    with pytest.raises(DataError, match="no http"):
        fetch("file:///etc/hostname", tmp_path / "x.mat")


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot make the folder"):
        fetch("http://127.0.0.1:9/x.mat", tmp_path / "file" / "x.mat")
