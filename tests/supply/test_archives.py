"""Archives: good ones come out whole, hostile and damaged ones leave nothing anywhere."""

import io
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adlib.supply import archives
from adlib.supply.archives import ArchiveError, Limits, safe_path, unpack

MODES = {".tar": "w", ".tar.gz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


def zipped(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo()  # set apart: the constructor cleans names
            info.filename, info.compress_type = name, compression
            archive.writestr(info, data)
    return path


def tarred(path: Path, members: dict[str, bytes], suffix: str = ".tar") -> Path:
    with tarfile.open(path, MODES[suffix]) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def special(path: Path, kind: bytes, link: str = "/etc/passwd") -> Path:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("good.txt"))
        info = tarfile.TarInfo("special")
        info.type, info.linkname = kind, link
        archive.addfile(info)
    return path


def zip_link(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return path


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


FILES = {"a.txt": b"a", "deep/b c.txt": b"b" * 3000, "deep/ä.png": b"", "empty/": b""}


@pytest.mark.parametrize("suffix", [".zip", ".ZIP", *MODES])
def test_good_archives(tmp_path: Path, suffix: str):
    archive = tmp_path / f"data{suffix}"
    files = {name: data for name, data in FILES.items() if not name.endswith("/")}
    zipped(archive, FILES) if suffix.lower() == ".zip" else tarred(archive, files, suffix)
    unpack(tmp_path / "out", archive)
    found = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*.*")}
    assert {name: path.read_bytes() for name, path in found.items()} == files
    assert everything(tmp_path) == {archive.name, "out", "out/deep"} | {f"out/{name}" for name in files}


def test_a_tar_gives_no_rights_away(tmp_path: Path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        info = tarfile.TarInfo("run.sh")
        info.mode, info.uid = 0o6777, 12345
        archive.addfile(info)
    unpack(tmp_path / "out", tmp_path / "x.tar")
    found = (tmp_path / "out" / "run.sh").stat()
    assert stat.S_IMODE(found.st_mode) == 0o755
    assert found.st_uid == (tmp_path / "x.tar").stat().st_uid


def test_archives_in_an_archive(tmp_path: Path):
    innermost = tarred(tmp_path / "2.tar.gz", {"c.txt": b"c"}, ".tar.gz").read_bytes()
    inner = zipped(tmp_path / "1.zip", {"sub/2.tar.gz": innermost, "b.txt": b"b"}).read_bytes()
    archive = zipped(tmp_path / "0.zip", {"class 1/1.zip": inner})
    unpack(tmp_path / "out", archive)
    expected = {"class 1", "class 1/b.txt", "class 1/sub", "class 1/sub/c.txt"}
    assert everything(tmp_path / "out") == expected
    unpack(tmp_path / "flat", archive, limits=Limits(depth=1))
    assert everything(tmp_path / "flat") == {
        "class 1",
        "class 1/b.txt",
        "class 1/sub",
        "class 1/sub/2.tar.gz",
    }


def test_two_archives_of_one_set(tmp_path: Path):
    parts = zipped(tmp_path / "1.zip", {"images/a": b"a"}), zipped(tmp_path / "2.zip", {"masks/a": b"b"})
    unpack(tmp_path / "out", *parts)
    assert everything(tmp_path / "out") == {"images", "images/a", "masks", "masks/a"}


def lying(path: Path) -> Path:
    """A zip whose directory declares 10 bytes for what unpacks to 1 MB."""
    data = zipped(path, {"zeros": bytes(10**6)}).read_bytes()
    path.write_bytes(data.replace((10**6).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    return path


def ten_gigabytes(path: Path) -> Path:
    """A tar of 10 GB of zeros as declared; the file itself ends after the header."""
    info = tarfile.TarInfo("zeros")
    info.size = 10 * 2**30
    path.write_bytes(info.tobuf() + bytes(1024))
    return path


def zip_in_zip(path: Path) -> Path:
    inner = zipped(path.with_name("inner.zip"), {"zeros": bytes(10**7)})
    zipped(path, {f"{n}.zip": inner.read_bytes() for n in range(30)}, zipfile.ZIP_STORED)
    inner.unlink()
    return path


LEAVES, LINK, BOMB = "would leave the target", "is a link or a device", "a bomb"
HOSTILE: dict[str, tuple[str, Callable[[Path], Path], str]] = {
    "zip ..": ("x.zip", lambda p: zipped(p, {"ok.txt": b"", "../evil.txt": b"x"}), LEAVES),
    "zip inner ..": ("x.zip", lambda p: zipped(p, {"a/../../evil.txt": b"x"}), LEAVES),
    "zip absolute": ("x.zip", lambda p: zipped(p, {"/tmp/evil.txt": b"x"}), LEAVES),
    "zip backslash": ("x.zip", lambda p: zipped(p, {"..\\evil.txt": b"x"}), LEAVES),
    "zip drive": ("x.zip", lambda p: zipped(p, {"C:/evil.txt": b"x"}), LEAVES),
    "zip zero byte": ("x.zip", lambda p: zipped(p, {"a\0.txt": b"x"}), LEAVES),
    "zip link": ("x.zip", zip_link, LINK),
    "zip twice": ("x.zip", lambda p: zipped(p, {"a": b"1", "./a": b"2"}), "holds './a' twice"),
    "zip file as folder": ("x.zip", lambda p: zipped(p, {"a": b"1", "a/b": b"2"}), "cannot be unpacked"),
    "zip bomb": ("x.zip", lambda p: zipped(p, {"zeros": bytes(10**7)}), BOMB),
    "zip that lies": ("x.zip", lying, "cannot be unpacked"),
    "zips in a zip": ("x.zip", zip_in_zip, BOMB),
    "too many files": ("x.zip", lambda p: zipped(p, {str(n): b"" for n in range(101)}), BOMB),
    "tar ..": ("x.tar", lambda p: tarred(p, {"../evil.txt": b"x"}), LEAVES),
    "tar absolute": ("x.tar.gz", lambda p: tarred(p, {"/tmp/evil.txt": b"x"}, ".tar.gz"), LEAVES),
    "symbolic link": ("x.tar", lambda p: special(p, tarfile.SYMTYPE), LINK),
    "link within": ("x.tar", lambda p: special(p, tarfile.SYMTYPE, "good.txt"), LINK),
    "hard link": ("x.tar", lambda p: special(p, tarfile.LNKTYPE), LINK),
    "character device": ("x.tar", lambda p: special(p, tarfile.CHRTYPE), LINK),
    "block device": ("x.tar", lambda p: special(p, tarfile.BLKTYPE), LINK),
    "pipe": ("x.tar", lambda p: special(p, tarfile.FIFOTYPE), LINK),
    "tar bomb": ("x.tar.xz", lambda p: tarred(p, {"zeros": bytes(10**7)}, ".tar.xz"), BOMB),
    "ten gigabytes": ("x.tar", ten_gigabytes, BOMB),
}
LIMITS = Limits(ratio=50, slack=10**5, files=100)


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archives_touch_nothing(tmp_path: Path, what: str):
    name, make, message = HOSTILE[what]
    (tmp_path / "box").mkdir()
    archive = make(tmp_path / "box" / name)
    before = everything(tmp_path)
    with pytest.raises(ArchiveError, match=message):
        unpack(tmp_path / "box" / "out", archive, limits=LIMITS)
    assert everything(tmp_path) == before
    assert not Path("/tmp/evil.txt").exists()


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar.xz"])
@pytest.mark.parametrize("cut", [0, 1, 100, -10])
def test_damaged_archives(tmp_path: Path, suffix: str, cut: int):
    archive = tmp_path / f"data{suffix}"
    files = {str(n): bytes(range(256)) for n in range(3)}
    whole = (zipped(archive, files) if suffix == ".zip" else tarred(archive, files, suffix)).read_bytes()
    archive.write_bytes(whole[:cut])
    with pytest.raises(ArchiveError, match=r"cannot be unpacked \(\w+.*fetch it again"):
        unpack(tmp_path / "out", archive)
    assert everything(tmp_path) == {archive.name}


def test_a_tar_cut_between_two_files(tmp_path: Path):
    archive = tarred(tmp_path / "x.tar", {"a": b"a", "b": b"b"})
    archive.write_bytes(archive.read_bytes()[:1024])
    with pytest.raises(ArchiveError, match="it ends too early"):
        unpack(tmp_path / "out", archive)


def test_a_flipped_bit_is_found(tmp_path: Path):
    archive = zipped(tmp_path / "x.zip", {"a": b"abcdefgh" * 10}, zipfile.ZIP_STORED)
    archive.write_bytes(archive.read_bytes().replace(b"abcdefgh", b"abcdefgi", 1))
    with pytest.raises(ArchiveError, match="Bad CRC-32"):
        unpack(tmp_path / "out", archive)


def test_what_is_no_archive(tmp_path: Path):
    (tmp_path / "x.rar").write_bytes(b"Rar!")
    with pytest.raises(ArchiveError, match=r"x.rar: must be a file that ends in .zip, .tar"):
        unpack(tmp_path / "out", tmp_path / "x.rar")
    with pytest.raises(ArchiveError, match="must be a file"):
        unpack(tmp_path / "out", tmp_path / "missing.zip")


def test_an_existing_target_stays(tmp_path: Path):
    (tmp_path / "out").mkdir()
    with pytest.raises(ArchiveError, match="out: exists already"):
        unpack(tmp_path / "out", zipped(tmp_path / "x.zip", FILES))
    assert everything(tmp_path / "out") == set()


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: full)
    with pytest.raises(ArchiveError, match=r"0\.00 GiB free; make room"):
        unpack(tmp_path / "out", zipped(tmp_path / "x.zip", FILES))
    assert everything(tmp_path) == {"x.zip"}


@given(st.text(min_size=1, max_size=30) | st.lists(st.sampled_from(["..", ".", "a", "/", ""])).map("/".join))
def test_a_safe_path_stays_below(name: str):
    base = Path("/base/target")
    try:
        path = safe_path(name, Path("x.zip"))
    except ArchiveError:
        return
    assert (base / path).resolve().is_relative_to(base)
