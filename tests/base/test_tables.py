"""Records in CSV files: round trips of every type, the bytes, and what is refused."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adlib.base.tables import TableError, read_csv, read_records, write_records


@dataclass(frozen=True, slots=True)
class Part:
    """A record with a field of every type."""

    name: str
    count: int
    size: float
    good: bool
    split: Literal["train", "test"]
    note: str | None = None
    spare: float | None = None


# Python 3.11 writes a carriage return without quotes, and reads it as the end of a row.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"))
PARTS = st.builds(
    Part,
    TEXT,
    st.integers(),
    st.floats(allow_nan=False),
    st.booleans(),
    st.sampled_from(("train", "test")),
    st.none() | TEXT.filter(bool),
    st.none() | st.floats(allow_nan=False),
)


@given(st.lists(PARTS))
def test_records_round_trip(tmp_path_factory: pytest.TempPathFactory, parts: list[Part]):
    path = tmp_path_factory.mktemp("tables") / "parts.csv"
    write_records(path, parts, Part)
    assert read_records(path, Part) == parts


def test_the_bytes(tmp_path: Path):
    parts = [Part("a, b", 1, 0.1 + 0.2, True, "train"), Part("ü", -2, 1e-9, False, "test", "x", 1.0)]
    write_records(tmp_path / "a.csv", parts, Part)
    header = "name,count,size,good,split,note,spare\n"
    every = '"a, b",1,0.30000000000000004,True,train,,\nü,-2,1e-09,False,test,x,1.0\n'
    assert (tmp_path / "a.csv").read_bytes().decode() == header + every
    write_records(tmp_path / "b.csv", iter(parts), Part, floats=".6g")
    assert [row["size"] for row in read_csv(tmp_path / "b.csv")] == ["0.3", "1e-09"]
    write_records(tmp_path / "c.csv", [], Part)
    assert (tmp_path / "c.csv").read_text() == header
    assert read_records(tmp_path / "c.csv", Part) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,count,size,good\na,1,1,True\n", "row 1: split: Field required"),
        (
            "name,count,size,good,split\na,1,1,True,test\na,x,1,True,test\n",
            "row 2: count: should be",
        ),
        ("name,count,size,good,split\na,1,1,True,val\n", "split: should be 'train' or 'test', got 'val'"),
        ("name,count,size,good,split\na,1,,True,test\n", "row 1: size: should be a valid number.*got ''"),
        ("name,count,size,good,split\na,1\n", "row 1: size: should be a valid number, got None"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "parts.csv").write_text(text)
    with pytest.raises(TableError, match=rf"parts\.csv, {message}" if message[:3] == "row" else message):
        read_records(tmp_path / "parts.csv", Part)
