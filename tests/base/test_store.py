"""The store: where it is, that entries are whole, found again, and made by several processes at once."""

import hashlib
import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adlib.base.store import content_key, entry_path, store_root, stored_folder

KEY = content_key(what="a fit")


def make(folder: Path) -> None:
    (folder / "a.txt").write_text("a")
    (folder / "b.txt").write_text("b")


def filled(kind: str, key: str, make: Callable[[Path], None], target: Path) -> bool:
    """Fill `target`; whether the entry was there."""
    with stored_folder(kind, key, target) as missing:
        if missing is not None:
            make(missing)
    return missing is None


def refuse(folder: Path) -> None:
    raise AssertionError(f"{folder}: made although the store has it")


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def new(folder: Path) -> Path:
    folder.mkdir()
    return folder


@given(
    st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.floats(allow_nan=False)), min_size=1)
)
def test_a_key_depends_on_every_part_and_on_no_order(parts: dict[str, object]):
    key = content_key(**parts)
    assert content_key(**dict(reversed(parts.items()))) == key
    assert all(content_key(**parts | {name: [value]}) != key for name, value in parts.items())
    assert len(key) == 64


def test_a_key_is_the_hash_of_canonical_json():
    expected = hashlib.sha256(rb'{"a":[1,2.5],"b":"\u00fc"}').hexdigest()
    assert content_key(b="ü", a=(1, 2.5)) == expected


def test_root_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ADLIB_CACHE", str(tmp_path / "s"))
    assert store_root() == tmp_path / "s"
    assert entry_path("fits", "abcd", "x.npy") == tmp_path / "s" / "fits" / "ab" / "abcd" / "x.npy"
    assert entry_path("fits", "abcd") == tmp_path / "s" / "fits" / "ab" / "abcd"


def test_root_below_home_and_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ADLIB_CACHE", "~/s")
    assert store_root() == tmp_path / "s"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADLIB_CACHE", "relative")
    assert store_root() == tmp_path / "relative"


@pytest.mark.parametrize("setting", ["off", "OFF", " off "])
def test_off(setting: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ADLIB_CACHE", setting)
    assert store_root() is None
    assert entry_path("fits", KEY) is None


@pytest.mark.parametrize("setting", [None, "", " "])
def test_the_platforms_cache_is_the_default(
    setting: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ADLIB_CACHE", raising=False)
    if setting is not None:
        monkeypatch.setenv("ADLIB_CACHE", setting)
    root = store_root()
    assert root is not None
    assert root.name == "adlib"
    assert root.is_relative_to(tmp_path)


def test_an_entry_is_made_once(store: Path, tmp_path: Path):
    assert not filled("fits", KEY, make, new(tmp_path / "first"))
    assert filled("fits", KEY, refuse, new(tmp_path / "second"))
    assert contents(tmp_path / "first") == contents(tmp_path / "second") == {"a.txt": "a", "b.txt": "b"}
    assert not filled("fits", content_key(what="another"), make, new(tmp_path / "third"))
    assert not filled("other", KEY, make, new(tmp_path / "fourth"))


def test_what_is_taken_out_is_a_copy(store: Path, tmp_path: Path):
    filled("fits", KEY, make, new(tmp_path / "first"))
    (tmp_path / "first" / "a.txt").write_text("changed")
    filled("fits", KEY, refuse, new(tmp_path / "second"))
    assert contents(tmp_path / "second") == {"a.txt": "a", "b.txt": "b"}


def test_without_a_store_everything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ADLIB_CACHE", "off")
    for name in ("first", "second"):
        assert not filled("fits", KEY, make, new(tmp_path / name))
        assert contents(tmp_path / name) == {"a.txt": "a", "b.txt": "b"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interrupted_make_leaves_no_entry(store: Path, tmp_path: Path, error: type[BaseException]):
    def interrupted(folder: Path) -> None:
        (folder / "a.txt").write_text("half")
        raise error

    target = new(tmp_path / "target")
    with pytest.raises(error):
        filled("fits", KEY, interrupted, target)
    assert not [path for path in store.rglob("*") if path.is_file()]
    assert contents(target) == {}
    assert not filled("fits", KEY, make, target)
    assert contents(target) == {"a.txt": "a", "b.txt": "b"}


def test_two_threads_make_one_entry(store: Path, tmp_path: Path):
    """Both find nothing and make it; the second to finish keeps the first's entry: it may be in use."""
    both_at_work = threading.Barrier(2, timeout=30)

    def slow(folder: Path) -> None:
        make(folder)
        both_at_work.wait()

    with ThreadPoolExecutor(2) as pool:
        targets = [new(tmp_path / name) for name in ("first", "second")]
        found = list(pool.map(lambda target: filled("fits", KEY, slow, target), targets))
    assert found == [False, False]
    assert contents(targets[0]) == contents(targets[1]) == {"a.txt": "a", "b.txt": "b"}
    entry = entry_path("fits", KEY)
    assert entry is not None
    assert [path.name for path in entry.parent.iterdir()] == [KEY], "no temporary folder is left"


def test_an_entry_made_meanwhile_stays_in_place(store: Path, tmp_path: Path):
    """Replacing it would pull the files from under a process that is copying them."""
    entry = entry_path("fits", KEY)
    assert entry is not None
    inodes: list[int] = []

    def overtaken(folder: Path) -> None:
        make(folder)
        filled("fits", KEY, make, new(tmp_path / "early"))
        inodes.append(entry.stat().st_ino)

    assert not filled("fits", KEY, overtaken, new(tmp_path / "late"))
    assert inodes == [entry.stat().st_ino]
    assert contents(tmp_path / "late") == contents(tmp_path / "early") == {"a.txt": "a", "b.txt": "b"}


def fill(target: Path, barrier: "threading.Barrier") -> None:
    for number in range(20):
        folder = target / str(number)
        folder.mkdir(parents=True)
        barrier.wait(60)
        filled("fits", content_key(number=number), make, folder)


def test_two_processes_make_the_same_entries(store: Path, tmp_path: Path):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    processes = [
        context.Process(target=fill, args=(tmp_path / name, barrier)) for name in ("first", "second")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    for name in ("first", "second"):
        for number in range(20):
            assert contents(tmp_path / name / str(number)) == {"a.txt": "a", "b.txt": "b"}
    assert len([path for path in store.rglob("*") if path.is_file()]) == 40
