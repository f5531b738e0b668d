"""Properties of splits and manifests: no image on two sides, the same whatever the order of the files."""

import random
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from toys import ROOT

from adlib.config.params import load_params
from adlib.data.contaminate import contaminate
from adlib.data.manifest import GOOD, Label, Record, Sample, read_labels, read_manifest, write_rows
from adlib.datasets.fetch import cap, split

DATASET = load_params(ROOT / "params.yaml").dataset

IDS = st.lists(st.text("0123456789abcdef", min_size=6, max_size=6), min_size=6, max_size=40, unique=True)
CAPS = st.tuples(*[st.integers(1, 20)] * 3)


def records_of(ids: list[str], published: bool) -> list[tuple[str, Record]]:
    """A third of the ids are anomalous; with a published split every other normal one trains."""
    rows = []
    for number, id in enumerate(ids):
        defect = "crack" if number % 3 == 0 else GOOD
        side = "train" if defect == GOOD and number % 2 else "test"
        rows.append((id, Record(f"{id}.png", side if published else None, defect)))
    return rows


def chosen(rows: list[tuple[str, Record]], caps: tuple[int, int, int], seed: int = 0) -> dict[str, Record]:
    limits = dict(zip(("max_train", "max_test_normal", "max_test_anomalous"), caps, strict=True))
    params = DATASET.model_copy(update=limits | {"split_seed": seed})
    kept = cap(split(rows, params, "bottle"), params, "bottle")
    assert len(dict(kept)) == len(kept)  # no id stands twice, so none is on two sides
    return dict(kept)


@given(ids=IDS, caps=CAPS, published=st.booleans(), seed=st.integers(0, 99), shuffle=st.randoms())
def test_splits_are_disjoint_and_deterministic(
    ids: list[str], caps: tuple[int, int, int], published: bool, seed: int, shuffle: random.Random
):
    rows = records_of(ids, published)
    kept = chosen(rows, caps, seed)
    assert set(kept) <= set(ids)
    assert all(record.split is not None for record in kept.values())
    assert all(not record.anomalous for record in kept.values() if record.split != "test")
    shuffle.shuffle(rows)
    assert chosen(rows, caps, seed) == kept


@given(ids=IDS, caps=CAPS, published=st.booleans())
def test_a_removed_image_moves_few_others(ids: list[str], caps: tuple[int, int, int], published: bool):
    rows = records_of(ids, published)
    before, after = chosen(rows, caps), chosen(rows[:-1], caps)
    moved = {id for id in before.keys() & after.keys() if before[id].split != after[id].split}
    assert len(moved) <= 2  # one over each of the borders between training, other and test images


MANY = st.lists(st.text("0123456789abcdef", min_size=6, max_size=6), min_size=36, max_size=50, unique=True)


@given(ids=MANY, seed=st.integers(0, 99), level=st.floats(0.1, 0.2), reserve=st.floats(0.3, 0.5))
def test_training_and_test_images_never_meet(ids: list[str], seed: int, level: float, reserve: float):
    kept = chosen(records_of(ids, published=True), (8, 20, 20))
    samples = [Sample(id, r.path, r.split) for id, r in kept.items() if r.split]
    labels = {id: Label(id, r.defect, "", "") for id, r in kept.items()}
    arguments = {"levels": [0.0, level], "seeds": [seed], "reserve": reserve, "overlap": False}
    splits = contaminate(samples, labels, **arguments, split_seed=seed)
    assert len(splits.training_sets[1].ids) > len(splits.training_sets[0].ids)
    for training in splits.training_sets:
        assert not set(training.ids) & set(splits.test)
    assert contaminate(samples[::-1], labels, **arguments, split_seed=seed) == splits


@given(ids=IDS, shuffle=st.randoms())
def test_manifests_do_not_tell_the_order(ids: list[str], shuffle: random.Random):
    samples = [Sample(id, f"{id}.png", "train" if n % 2 else "test") for n, id in enumerate(ids)]
    labels = [Label(id, "crack" if n % 3 else GOOD, "", "") for n, id in enumerate(ids)]
    with tempfile.TemporaryDirectory() as folder:
        written = []
        for _ in range(2):
            write_rows(Path(folder, "m.csv"), samples, Sample)
            write_rows(Path(folder, "l.csv"), labels, Label)
            written.append([Path(folder, name).read_bytes() for name in ("m.csv", "l.csv")])
            shuffle.shuffle(samples)
            shuffle.shuffle(labels)
        assert written[0] == written[1]
        assert read_manifest(Path(folder, "m.csv")) == sorted(samples, key=lambda sample: sample.id)
        assert read_labels(Path(folder, "l.csv")) == {label.id: label for label in labels}
