"""What an evaluation was made of, from dvc.lock: git tracks it, so every revision says on what it was tested.

For each evaluation DVC records the hashes of the manifest (every image by the sha256 of its bytes, and its
split), of the labels (masks included) and of the splits, and the parameters that each stage read. Two results
compare only where these agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adlib.base.errors import UserError
from adlib.base.yaml import parse_yaml
from adlib.config.workspace import Workspace

OUTPUTS = Workspace()
RESULTS = "report/results.csv"
PARAMS = "params.yaml"
# The test set follows from the manifest, the labels and these (adlib.data.contaminate); the splits' file also
# holds the training sets, which follow the seeds, the rest of `noise` and excluded.csv.
SPLIT_KEYS = ("noise.reserve", "noise.overlap", "dataset.split_seed")
EXCLUDED = "excluded.csv"
FRAME_KEYS = ("image_size", "keep_aspect")
SPLIT_CODE = ("adlib/data", "adlib/base")


@dataclass(frozen=True)
class Protocol:
    """What one evaluation hangs on, the method aside.

    Attributes:
        manifest: md5 of the list of images and splits.
        labels: md5 of the labels.
        splits: md5 of the training sets and the test set.
        code: md5 of the sources that drew them.
        settings: flattened parameters of the stages behind it, by name, and the md5 of excluded.csv.
    """

    manifest: str
    labels: str
    splits: str
    code: tuple[str | None, ...]
    settings: Mapping[str, Any]

    def differences(self, other: "Protocol") -> list[str]:
        """Why results under this protocol and under `other` do not compare; empty if they do."""
        changed = [key for key in self.settings if self.settings[key] != other.settings.get(key)]
        found = []
        if (self.manifest, self.labels) != (other.manifest, other.labels):
            what = "images or their split" if self.manifest != other.manifest else "labels or masks"
            found.append(f"other {what}{self._cause(other, changed)}")
        for key in (*SPLIT_KEYS, *FRAME_KEYS):
            if key in changed:
                found.append(f"{key}: {self.settings[key]} and {other.settings.get(key)}")
        redrawn = any(key in ("seeds", EXCLUDED) or key.startswith("noise.") for key in changed)
        if not found and self.splits != other.splits and not redrawn:
            found.append("other training and test sets from the same settings")
        return found

    def undecided(self, other: "Protocol") -> bool:
        """Whether the test set may have moved: levels or seeds differ, and so does the code that draws it."""
        return self.splits != other.splits and self.code != other.code

    def _cause(self, other: "Protocol", changed: list[str]) -> str:
        """The settings that may explain other data."""
        told = ("dataset.categories", *SPLIT_KEYS)
        keys = [key for key in changed if key.startswith("dataset.") and key not in told]
        words = (f"{key} {self.settings[key]} and {other.settings.get(key)}" for key in keys)
        return f" ({', '.join(words)})" if keys else ""


class Lock:
    """dvc.lock, read by what its stages made."""

    def __init__(self, text: str, name: str) -> None:
        """Parse the text of a dvc.lock.

        Raises:
            UserError: it is no dvc.lock, or in the middle of a merge.
        """
        try:
            self._stages: dict[str, Any] = parse_yaml(text, f"dvc.lock of {name}")["stages"]
            self._maker = {
                out["path"]: stage for stage in self._stages.values() for out in stage.get("outs", [])
            }
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(
                f"dvc.lock of {name}: not a lock file ({type(error).__name__}); restore it from git, "
                "or write it anew with `dvc repro`"
            ) from None

    def protocol(self, category: str, method: str) -> Protocol | None:
        """What an evaluation was made of, or None where the lock does not know it or contradicts itself."""
        # A method's variants are evaluated together.
        evaluate = self._maker.get(OUTPUTS.evaluation(category, method.partition("/")[0]).as_posix())
        fetched, splits = OUTPUTS.fetched(category), OUTPUTS.splits(category).as_posix()
        fetch = self._maker.get(fetched.manifest.as_posix())
        contaminate = self._maker.get(splits)
        if evaluate is None or contaminate is None:
            return None
        used = _hashes(evaluate, "deps")
        if used.get(splits) != _hashes(contaminate, "outs")[splits]:  # an unfinished run
            return None
        sources = _hashes(contaminate, "deps")
        return Protocol(
            used.get(fetched.manifest.as_posix(), ""),
            used.get(fetched.labels.as_posix(), ""),
            used.get(splits, ""),
            tuple(sources.get(path) for path in SPLIT_CODE),
            {
                **_settings(fetch or {}),
                **_settings(contaminate),
                **_settings(evaluate),
                EXCLUDED: sources.get(EXCLUDED),
            },
        )

    def made(self, path: str) -> str | None:
        """The md5 of an output, as last written by a stage."""
        stage = self._maker.get(path)
        return None if stage is None else _hashes(stage, "outs").get(path)

    def used_params(self) -> str | None:
        """The md5 of the params.yaml that the report was made from."""
        return _hashes(self._maker.get(RESULTS, {}), "deps").get(PARAMS)


def flatten(block: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in block.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat


def _hashes(stage: Mapping[str, Any], kind: str) -> dict[str, str]:
    return {entry["path"]: entry.get("md5", "") for entry in stage.get(kind, [])}


def _settings(stage: Mapping[str, Any]) -> dict[str, Any]:
    return flatten(stage.get("params", {}).get(PARAMS, {}))
