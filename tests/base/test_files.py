"""Files and folders are either whole or absent, and the same values give the same bytes."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from adlib.base.files import atomic_directory, atomic_path, copy_file, read_json, write_json
from adlib.base.tables import read_csv, write_csv


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, hidden ones included, with its bytes; folders end in a slash."""
    return {
        path.relative_to(folder).as_posix() + "/" * path.is_dir(): b"" if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def test_a_file_appears_whole(tmp_path: Path):
    target = tmp_path / "new" / "file.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        assert temporary.parent == target.parent
        assert temporary.suffix == ".txt"
        temporary.write_text("whole")
    assert tree(tmp_path) == {"new/": b"", "new/file.txt": b"whole"}
    assert target.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [True, False])
def test_a_failing_writer_leaves_the_old_file(tmp_path: Path, error: type[BaseException], old: bool):
    target = tmp_path / "file.txt"
    if old:
        target.write_text("old")

    def write() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert tree(tmp_path) == ({"file.txt": b"old"} if old else {})


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path):
    target = tmp_path / "parent" / "folder"
    for name in ("first", "second"):
        with atomic_directory(target) as temporary:
            (temporary / name).write_text(name)
            (temporary / "inner").mkdir()
    assert tree(tmp_path / "parent") == {"folder/": b"", "folder/inner/": b"", "folder/second": b"second"}


@pytest.mark.parametrize("first_wins", [True, False])
@pytest.mark.parametrize("old", [True, False])
def test_a_failing_writer_leaves_the_old_folder(tmp_path: Path, old: bool, first_wins: bool):
    target = tmp_path / "folder"
    if old:
        target.mkdir()
        (target / "file").write_text("old")

    def write() -> None:
        with atomic_directory(target, first_wins=first_wins) as temporary:
            (temporary / "file").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert tree(tmp_path) == ({"folder/": b"", "folder/file": b"old"} if old else {})


def test_the_first_of_two_writers_wins(tmp_path: Path):
    target = tmp_path / "folder"
    with atomic_directory(target, first_wins=True) as late:
        (late / "file").write_text("late")
        with atomic_directory(target, first_wins=True) as early:
            (early / "file").write_text("early")
        inode = target.stat().st_ino
    assert tree(tmp_path) == {"folder/": b"", "folder/file": b"early"}
    assert target.stat().st_ino == inode, "a reader of the first folder must not lose it"


def test_a_file_in_the_way_is_an_error_for_first_wins(tmp_path: Path):
    (tmp_path / "folder").write_text("a file")
    with (
        pytest.raises(OSError, match="folder"),
        atomic_directory(tmp_path / "folder", first_wins=True) as temporary,
    ):
        (temporary / "file").write_text("new")
    assert tree(tmp_path) == {"folder": b"a file"}


@pytest.mark.parametrize("writer", [atomic_path, atomic_directory])
def test_nothing_hidden_remains(tmp_path: Path, writer: Callable[[Path], AbstractContextManager[Path]]):
    with writer(tmp_path / "x"):
        assert [path.name[:3] for path in tmp_path.iterdir()] == [".x."]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_copy_is_no_link(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "folder" / "target"
    source.write_bytes(bytes(range(256)) * 1000)
    copy_file(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_ino != source.stat().st_ino
    source.write_bytes(b"changed")
    assert len(target.read_bytes()) == 256_000


def test_json_round_trip(tmp_path: Path):
    value = {"b": [1, 2.5, None, True], "a": {"ü": "€"}}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value
    text = (tmp_path / "x.json").read_bytes()
    assert text.endswith(b"\n")
    assert "ü".encode() in text
    assert text.index(b'"b"') < text.index(b'"a"'), "keys stay in the writer's order"


def test_csv_bytes(tmp_path: Path):
    rows = [["1", 'two, "three"', "ü"], [4, 0.1, ""]]
    write_csv(tmp_path / "x.csv", ["a", "b", "c"], iter(rows))
    expected = 'a,b,c\n1,"two, ""three""",ü\n4,0.1,\n'
    assert (tmp_path / "x.csv").read_bytes() == expected.encode()
    write_csv(tmp_path / "y.csv", ("a", "b", "c"), rows)
    assert (tmp_path / "y.csv").read_bytes() == expected.encode()
    assert read_csv(tmp_path / "x.csv") == [
        {"a": "1", "b": 'two, "three"', "c": "ü"},
        {"a": "4", "b": "0.1", "c": ""},
    ]


def test_csv_keeps_the_old_file_when_a_row_fails(tmp_path: Path):
    (tmp_path / "x.csv").write_text("old")

    def rows():
        yield ["1"]
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_csv(tmp_path / "x.csv", ["a"], rows())
    assert tree(tmp_path) == {"x.csv": b"old"}
