from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deepscope.core import DataError
from deepscope.data import RemoteFile, Source
from deepscope.data._store import obtain

# Several pieces of 64 KiB, the last one short.
CONTENT = bytes(range(256)) * 1000


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked += 1
        if self.path == "/gone":
            self.send_error(404)
            return
        body = CONTENT if self.path == "/right" else CONTENT[:-1] + b"!"
        self.send_response(200)
        if self.path != "/silent":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:100_000] if self.path in ("/breaks", "/silent") else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = 0
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def source(server: ThreadingHTTPServer, page: str) -> Source:
    url = f"http://127.0.0.1:{server.server_port}/{page}"
    file = RemoteFile(path="fake/file.bin", url=url, sha256=hashlib.sha256(CONTENT).hexdigest())
    return Source(name="fake", title="", licence="", load=lambda paths: paths, files=(file,))


def test_the_right_file_arrives_in_the_cache_and_is_fetched_once(folders, server):
    fake = source(server, "right")
    target = folders.cache / "fake" / "file.bin"
    assert obtain(fake) == (target,)
    assert target.read_bytes() == CONTENT
    assert sorted(folders.cache.rglob("*")) == [target.parent, target]
    assert list(folders.own.iterdir()) == []
    assert obtain(fake) == (target,)
    assert server.asked == 1


@pytest.mark.parametrize(
    ("page", "message"),
    [("wrong", "thrown away: its SHA-256 is"), ("breaks", "could not be fetched"), ("silent", "thrown away"),
     ("gone", "404")],
)  # fmt: skip
def test_a_wrong_or_broken_download_is_an_error_that_leaves_nothing(folders, server, page, message):
    fake = source(server, page)
    with pytest.raises(DataError, match=message) as caught:
        obtain(fake)
    assert fake.files[0].url in str(caught.value)
    assert str(caught.value).count("\n") <= 2
    assert list(folders.cache.rglob("*")) == []


def test_a_broken_file_in_the_cache_is_replaced_by_the_right_one_only(folders, server):
    target = folders.cache / "fake" / "file.bin"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"broken")
    with pytest.raises(DataError):
        obtain(source(server, "wrong"))
    assert target.read_bytes() == b"broken"
    obtain(source(server, "right"))
    assert target.read_bytes() == CONTENT


def test_progress_grows_to_the_whole(folders, server):
    seen = []
    obtain(source(server, "right"), progress=lambda file, done, total: seen.append((file.name, done, total)))
    assert {(name, total) for name, _, total in seen} == {("file.bin", len(CONTENT))}
    counts = [done for _, done, _ in seen]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] == len(CONTENT)


def test_ctrl_c_in_the_middle_leaves_nothing(folders, server):
    def interrupt(file: RemoteFile, done: int, total: int) -> None:
        assert any(folders.cache.rglob("file.bin")), "the unfinished file lies in the scratch folder"
        assert not (folders.cache / file.path).exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        obtain(source(server, "right"), progress=interrupt)
    assert list(folders.cache.rglob("*")) == []


def test_a_judged_file_is_accepted_with_another_checksum(folders, server):
    fake = source(server, "wrong")
    fake = replace(fake, files=(replace(fake.files[0], judge=lambda path: ""),))
    assert obtain(fake)[0].read_bytes() == CONTENT[:-1] + b"!"


def test_offline_does_not_ask_the_server(folders, server, monkeypatch):
    monkeypatch.setenv("DEEPSCOPE_OFFLINE", "1")
    with pytest.raises(DataError, match="offline"):
        obtain(source(server, "right"))
    assert server.asked == 0


def test_a_cache_that_cannot_be_written_is_a_data_error(folders, server):
    folders.cache.parent.write_text("a file where the folder should be")
    with pytest.raises(DataError, match="could not be fetched"):
        obtain(source(server, "right"))
