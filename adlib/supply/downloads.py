"""Downloads that survive a bad line: resumed, retried, from mirrors, and kept only with the right checksum.

`pooch` names, checks and moves the file, and urllib3's `Retry` counts attempts and waits between them. The
transfer itself is `Transfer`, as neither goes on with a file that was cut.
"""

import errno
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast
from urllib.parse import unquote, urlsplit

import pooch
import requests
from requests.exceptions import ChunkedEncodingError, ConnectionError, RequestException, SSLError, Timeout
from urllib3.exceptions import InvalidHeader, MaxRetryError
from urllib3.util.retry import Retry

from adlib.base.errors import UserError
from adlib.base.files import read_json, sha256_file, write_json
from adlib.base.progress import say, transfer
from adlib.supply.archives import lack_of_room

CHUNK = 1 << 15  # what a cut loses at most
PASSING = (ConnectionError, Timeout, ChunkedEncodingError)
# Transfers in a row that bring nothing new before an address is given up, and the waits between them.
RETRIES = Retry(
    total=4,
    status_forcelist=(408, 429, 500, 502, 503, 504),
    backoff_factor=1,
    backoff_max=120,
    backoff_jitter=0.5,
    retry_after_max=120,
)
SILENCE = 30.0


class DownloadError(UserError):
    """A file cannot be had: every address, and what it answered."""


class _CutError(Exception):
    """The transfer may go on later; `answer` may say when."""

    def __init__(self, reason: str, answer: requests.Response | None = None) -> None:
        super().__init__(reason)
        self.answer = answer


@dataclass(frozen=True)
class Transfer:
    """A downloader for pooch: `transfer(url, output_file, pooch)`.

    Attributes:
        part: where the unfinished file waits for the next attempt; beside it, with the suffix `.tag`, the
            server's tag of that version, so that the pieces of two versions never meet.
        retries: how often to try, and how long to wait, while nothing new comes.
        silence: seconds without a byte after which a transfer counts as cut.
    """

    part: Path
    retries: Retry = RETRIES
    silence: float = SILENCE

    def __call__(self, url: str, output_file: str | IO, _pooch: object = None) -> None:
        """Bring `url` to the path `output_file`. Raises DownloadError."""
        retries = self.retries
        while True:
            before = self._size()
            try:
                self._attempt(url)
                break
            except _CutError as cut:
                if self._size() > before:  # it goes on, if slowly: `Retry` itself never starts over
                    retries = self.retries
                try:
                    retries = retries.increment("GET", url, error=cut)
                except MaxRetryError:
                    attempts = len(retries.history) + 1
                    raise DownloadError(f"{url}: {cut}; given up after {attempts} attempts") from cut
                say(f"{url}: {cut}; trying again")
                _wait(retries, cut.answer)
        shutil.move(self.part, str(output_file))
        self._tag.unlink(missing_ok=True)

    @property
    def _tag(self) -> Path:
        return self.part.with_name(self.part.name + ".tag")

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _attempt(self, url: str) -> None:
        have = self._size() if self._tag.exists() else 0
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": self._tag.read_text(encoding="utf-8")}
        try:
            with requests.get(url, headers=headers, stream=True, timeout=self.silence) as answer:
                self._receive(answer, have)
        except SSLError as error:
            raise DownloadError(f"{url}: {_reason(error)}; fetch it with a browser") from error
        except PASSING as error:
            raise _CutError(_reason(error)) from error
        except RequestException as error:
            raise DownloadError(f"{url}: {_reason(error)}") from error
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise DownloadError(
                f"{self.part}: the disk is full; make room, the download then goes on"
            ) from None

    def _receive(self, answer: requests.Response, have: int) -> None:
        if self.retries.is_retry("GET", answer.status_code):
            raise _CutError(f"the server answers {answer.status_code}", answer)
        if answer.status_code == 416:  # the part is longer than the file: another version
            self.part.unlink(missing_ok=True)
            raise _CutError("the file on the server has changed")
        if answer.status_code not in (200, 206):
            raise DownloadError(f"{answer.url}: the server answers {answer.status_code} {answer.reason}")
        if answer.status_code == 200:
            have = 0
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            self.part.unlink()
            raise _CutError("the server sent another range than asked for")
        rest = int(answer.headers["Content-Length"]) if "Content-Length" in answer.headers else None
        if missing := lack_of_room(self.part.parent, rest or 0):
            raise DownloadError(f"{self.part.parent}: {missing}")
        self._remember(answer)
        with (
            self.part.open("ab" if have else "wb") as file,
            transfer(self.part.stem, rest and have + rest) as advance,
        ):
            advance(have)
            for chunk in answer.iter_content(CHUNK):
                file.write(chunk)
                advance(len(chunk))
        if rest is not None and self._size() != have + rest:
            raise _CutError(f"the line was cut after {self._size()} of {have + rest} bytes")

    def _remember(self, answer: requests.Response) -> None:
        """A strong tag lets the transfer go on later; without one it would start anew."""
        tag = answer.headers.get("ETag", "")
        tag = answer.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
        if tag:
            self._tag.write_text(tag, encoding="utf-8")
        else:
            self._tag.unlink(missing_ok=True)


def download(
    urls: Sequence[str],
    target: Path,
    sha256: str | None,
    *,
    pins: Path,
    prefix: str = "",
    retries: Retry = RETRIES,
    silence: float = SILENCE,
) -> Path:
    """Bring a file from the first of `urls` that has it.

    Args:
        target: where it goes; a file that is there already with the right checksum stays.
        sha256: of its bytes; None if nobody published it: then what came first is pinned in `pins`.
        pins: a JSON file of checksums by file name, written here, to be kept with the project.
        prefix: the checksum's first digits, where no more of it was published.

    Raises:
        DownloadError: no address brought the file with this checksum. Nothing wrong is kept; what was cut
            is, and the next call goes on with it.
    """
    known = sha256 or pinned(pins).get(target.name)
    part = target.with_name(f".{target.name}.part")
    failures: list[str] = []
    pooch.get_logger().setLevel("WARNING")  # the bar says enough
    for url in urls:
        try:
            pooch.retrieve(
                url,
                known_hash=f"sha256:{known}" if known else None,
                fname=target.name,
                path=target.parent,
                downloader=cast(Any, Transfer(part, retries, silence)),
            )
        except DownloadError as error:
            failures.append(str(error))
        except ValueError:  # pooch's word for a wrong checksum; it has removed the file
            failures.append(f"{url}: the file has another sha256 than {known}; it was not kept")
        else:
            if known:
                return target
            found = sha256_file(target)
            if found.startswith(prefix):
                write_json(pins, pinned(pins) | {target.name: found})
                return target
            target.unlink()
            failures.append(f"{url}: the file's sha256 is {found} and not {prefix}…; it was not kept")
    raise DownloadError(
        f"{target.name} could not be downloaded:\n" + "\n".join(f"  {line}" for line in failures)
    )


def file_name(address: str) -> str:
    """The name of the file at a URL; "" if it names none."""
    return PurePosixPath(unquote(urlsplit(address).path)).name


def pinned(pins: Path) -> dict[str, str]:
    """The sha256 of every file that was downloaded without a published one."""
    return read_json(pins) if pins.exists() else {}


def _wait(retries: Retry, answer: requests.Response | None) -> None:
    """Sleep as long as the server asks for, else as long as it is the turn of `retries`."""
    try:
        retries.sleep(answer.raw if answer is not None else None)
    except InvalidHeader:  # neither seconds nor a date
        retries.sleep()


def _reason(error: Exception) -> str:
    """A line instead of the nested objects that requests puts into its messages."""
    if isinstance(error, Timeout):
        return "no byte within the time allowed"
    if isinstance(error, ChunkedEncodingError):
        return "the line was cut"
    return f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
