"""Downloads from a server on the loopback interface that cuts, stalls, refuses, redirects and lies."""

import email.utils
import errno
import hashlib
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from urllib3.util import retry

from adlib.base.files import read_json
from adlib.supply import downloads
from adlib.supply.downloads import RETRIES, DownloadError, download, pinned

DATA = bytes(range(256)) * 4000
SHA = hashlib.sha256(DATA).hexdigest()
THRICE = RETRIES.new(total=2, backoff_jitter=0, retry_after_max=60)


@dataclass
class Server:
    """Answers in this order (the last one repeats) and what was asked."""

    url: str = ""
    answers: list[str] = field(default_factory=lambda: ["ok"])
    data: bytes = DATA
    tag: str = '"one"'
    ranges: list[str | None] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)


def handler_of(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
            server.ranges.append(self.headers.get("Range"))
            kind, _, value = answer.partition(" ")
            if kind.isdigit():
                self.send_response(int(kind))
                if value:
                    self.send_header("Location" if kind == "302" else "Retry-After", value)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self._send(kind, int(value or 0))

        def _send(self, kind: str, number: int) -> None:
            start = 0
            asked = self.headers.get("Range")
            if asked and self.headers.get("If-Range") == server.tag and kind != "no-ranges":
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206 if start else 200)
            if start:
                shown = 0 if kind == "wrong-range" else start
                self.send_header("Content-Range", f"bytes {shown}-{len(server.data) - 1}/{len(server.data)}")
            if server.tag:
                self.send_header("ETag", server.tag)
            if kind != "no-length":
                self.send_header("Content-Length", str(len(server.data) - start))
            self.end_headers()
            end = start + number if kind in ("cut", "stall") else len(server.data)
            while kind == "slow" and start < end:  # a byte now and then is no silence
                self.wfile.write(server.data[start : start + number])
                start += number
                server.release.wait(0.06)
            self.wfile.write(server.data[start:end])
            if kind == "stall":
                server.release.wait(10)

    return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()
    monkeypatch.setattr(retry.time, "sleep", state.waits.append)
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(state))
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}/data.zip"
    yield state
    state.release.set()
    http.shutdown()
    http.server_close()
    thread.join()


def get(server: Server, folder: Path, sha256: str | None = SHA, urls: list[str] | None = None) -> Path:
    target, pins = folder / "data.zip", folder / "checksums.json"
    return download(urls or [server.url], target, sha256, pins=pins, retries=THRICE, silence=0.5)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("answer", ["ok", "no-length"])
def test_a_file_comes_whole_and_alone(server: Server, tmp_path: Path, answer: str):
    server.answers = [answer]
    assert get(server, tmp_path).read_bytes() == DATA
    assert names(tmp_path) == {"data.zip"}
    get(server, tmp_path)
    assert len(server.ranges) == 1  # what is there with the right checksum is not fetched again


def test_goes_on_where_it_was_cut(server: Server, tmp_path: Path):
    server.answers = ["cut 300000", "cut 200000", "ok"]
    assert get(server, tmp_path).read_bytes() == DATA
    assert server.ranges == [None, "bytes=294912-", "bytes=491520-"]  # whole pieces of 32 KiB
    assert server.waits == []  # both brought something, so there is no reason to wait
    assert names(tmp_path) == {"data.zip"}


def test_goes_on_in_another_call(server: Server, tmp_path: Path):
    server.answers = ["cut 300000", "503"]
    with pytest.raises(DownloadError, match="the server answers 503; given up after 3 attempts"):
        get(server, tmp_path)
    assert names(tmp_path) == {".data.zip.part", ".data.zip.part.tag"}
    server.answers = ["ok"]
    assert get(server, tmp_path).read_bytes() == DATA
    assert server.ranges[-1] == "bytes=294912-"


@pytest.mark.parametrize("answer", ["no-ranges", "wrong-range", "416"])
def test_a_server_that_cannot_go_on(server: Server, tmp_path: Path, answer: str):
    server.answers = ["cut 300000", answer, "ok"]
    assert get(server, tmp_path).read_bytes() == DATA


def test_pieces_of_two_versions_never_meet(server: Server, tmp_path: Path):
    server.answers = ["cut 300000", "503"]
    with pytest.raises(DownloadError):
        get(server, tmp_path, None)
    server.answers, server.data, server.tag = ["ok"], DATA[::-1], '"two"'
    assert get(server, tmp_path, None).read_bytes() == DATA[::-1]


@pytest.mark.parametrize("tag", ["", 'W/"weak"'])
def test_without_a_tag_it_starts_anew(server: Server, tmp_path: Path, tag: str):
    server.answers, server.tag = ["cut 300000", "ok"], tag
    assert get(server, tmp_path).read_bytes() == DATA
    assert server.ranges == [None, None]


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path):
    with pytest.raises(DownloadError, match=f"the file has another sha256 than {'0' * 64}; it was not kept"):
        get(server, tmp_path, "0" * 64)
    assert names(tmp_path) == set()


def test_an_unknown_checksum_is_pinned(server: Server, tmp_path: Path):
    get(server, tmp_path, None)
    assert read_json(tmp_path / "checksums.json") == {"data.zip": SHA} == pinned(tmp_path / "checksums.json")
    (tmp_path / "data.zip").unlink()
    server.data = DATA[::-1]
    with pytest.raises(DownloadError, match=f"another sha256 than {SHA}"):
        get(server, tmp_path, None)
    assert names(tmp_path) == {"checksums.json"}


def test_the_first_digits_of_a_checksum(server: Server, tmp_path: Path):
    """Some publish no more; what came is pinned whole."""
    target, pins = tmp_path / "data.zip", tmp_path / "checksums.json"
    with pytest.raises(DownloadError, match=f"sha256 is {SHA} and not 0000…; it was not kept"):
        download([server.url], target, None, pins=pins, prefix="0000")
    assert names(tmp_path) == set()
    download([server.url], target, None, pins=pins, prefix=SHA[:8])
    assert pinned(pins) == {"data.zip": SHA}


@pytest.mark.parametrize("status", [404, 403, 401])
def test_a_file_that_is_not_there_is_not_asked_for_twice(server: Server, tmp_path: Path, status: int):
    server.answers = [str(status)]
    with pytest.raises(DownloadError, match=f"data.zip: the server answers {status} "):
        get(server, tmp_path)
    assert len(server.ranges) == 1
    assert names(tmp_path) == set()


def test_the_next_mirror_is_tried(server: Server, tmp_path: Path):
    server.answers = ["404", "ok"]
    mirrors = [server.url.replace("data", "other"), server.url]
    assert get(server, tmp_path, urls=mirrors).read_bytes() == DATA


def test_every_mirror_is_listed(server: Server, tmp_path: Path):
    server.answers = ["404", "403"]
    with pytest.raises(DownloadError, match=r"data.zip could not be downloaded:\n.*404.*\n.*403"):
        get(server, tmp_path, urls=[server.url, server.url])


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path, status: int):
    server.answers = [f"{status} 7", str(status), "ok"]
    assert get(server, tmp_path).read_bytes() == DATA
    assert server.waits == [7, 2]  # what it asks for, then Retry's second wait


@pytest.mark.parametrize(
    ("asked", "waits"),
    [
        ("9999", [60]),
        (email.utils.formatdate(time.time() + 9999, usegmt=True), [60]),
        ("Mon, 01 Jan 2001 00:00:00 GMT", []),
        ("soon", []),
    ],
    ids=["seconds", "a date far ahead", "a date long past", "no date"],
)
def test_what_a_server_asks_for(server: Server, tmp_path: Path, asked: str, waits: list[float]):
    """Seconds or a date, both up to the longest wait; past dates and other words are no reason to wait."""
    server.answers = [f"429 {asked}", "ok"]
    assert get(server, tmp_path).read_bytes() == DATA
    assert server.waits == waits


def test_a_server_that_stays_busy(server: Server, tmp_path: Path):
    server.answers = ["429"]
    with pytest.raises(DownloadError, match="the server answers 429; given up after 3 attempts"):
        get(server, tmp_path)
    assert server.waits == [2]  # Retry asks again at once, then waits 2, 4, 8 …


def test_a_server_that_falls_silent(server: Server, tmp_path: Path):
    server.answers = ["stall 300000", "ok"]
    assert get(server, tmp_path).read_bytes() == DATA
    assert server.ranges == [None, "bytes=294912-"]


def test_a_slow_server_is_waited_for(server: Server, tmp_path: Path):
    """Eleven pieces take longer than `silence`, which counts seconds without a byte only."""
    server.answers = ["slow 100000"]
    assert get(server, tmp_path).read_bytes() == DATA
    assert server.ranges == [None]


def test_a_redirect(server: Server, tmp_path: Path):
    server.answers = [f"302 {server.url}?again", "ok"]
    assert get(server, tmp_path).read_bytes() == DATA


def test_a_redirect_without_end(server: Server, tmp_path: Path):
    server.answers = [f"302 {server.url}"]
    with pytest.raises(DownloadError, match="TooManyRedirects"):
        get(server, tmp_path)


def test_nobody_listens(server: Server, tmp_path: Path):
    with pytest.raises(DownloadError, match=r"ConnectionError.*given up after 3 attempts"):
        get(server, tmp_path, urls=["http://127.0.0.1:9/data.zip"])


def test_a_full_disk(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    full = shutil.disk_usage(tmp_path)._replace(free=len(DATA) - 1)
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: full)
    with pytest.raises(DownloadError, match=r"0\.00 GiB to come, 0\.00 GiB free; make room"):
        get(server, tmp_path)
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError(errno.ENOSPC, "No space left"),
            "part: the disk is full; make room, the download then goes on",
        ),
        (
            requests.exceptions.SSLError("bad certificate"),
            "SSLError: bad certificate; fetch it with a browser",
        ),
    ],
)
def test_errors_of_the_transfer(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(downloads.Transfer, "_receive", fail)
    with pytest.raises(DownloadError, match=message):
        get(server, tmp_path)


def test_other_errors_of_the_system_pass(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise PermissionError("read only")

    monkeypatch.setattr(downloads.Transfer, "_receive", fail)
    with pytest.raises(PermissionError, match="read only"):
        get(server, tmp_path)
