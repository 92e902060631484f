"""The stage store: finished passes by content, so that a second run reuses the stages of the first.

A stage is a folder named by the hash of everything that decides its result: the model that came in, the bound pass,
the data, the seed and the versions. It holds the model (graph JSON + safetensors) and the record (JSON).
"""

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from pocketlens.errors import ModelError
from pocketlens.models import store as models
from pocketlens.types import Context, Json, Model, PassResult, Record

_VERSIONS = ("pocketlens", "torch")


class StageStore:
    """Stages in a folder, the least recently used thrown away beyond a limit.

    Args:
        folder: made when missing.
        limit_bytes: what all stages together may take.
    """

    def __init__(self, folder: Path, limit_bytes: int = 4 * 2**30) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes

    def key(self, model: Model, step: Json, context: Context) -> str:
        """The name of the stage that `step` makes of `model` under `context`."""
        data = context.data
        sets = (data.train, data.calibration, data.validation)
        others = (context.original, context.unquantized, *context.teachers)
        parts = {
            "model": models.digest(model),
            "others": [None if m is None else models.digest(m) for m in others],
            "pass": step,
            "data": [None if s is None else s.fingerprint() for s in sets],
            "seed": context.seed,
            "versions": [version(name) for name in _VERSIONS],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]

    def load(self, key: str) -> PassResult | None:
        """A stage, or None when it is not there or not whole (then it is removed)."""
        place = self.folder / key
        if not place.is_dir():
            return None
        try:
            record = json.loads((place / "record.json").read_text("utf-8"))
            record["layers"], record["notes"] = tuple(record["layers"]), tuple(record["notes"])
            result = PassResult(models.load(place / "model.graph"), Record(**record))
        except (OSError, ValueError, TypeError, KeyError, ModelError):
            shutil.rmtree(place, ignore_errors=True)
            return None
        os.utime(place)
        return result

    def work(self, key: str) -> Path | None:
        """A folder for the stage while it is made, found again after a kill; None on a full disk."""
        place = self.folder / f"{key}.work"
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError:
            return None
        return place

    def save(self, key: str, result: PassResult) -> None:
        """Keep a stage; a store that cannot be written is no reason to stop the run."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            building = Path(tempfile.mkdtemp(prefix=".building-", dir=self.folder))
        except OSError:
            return
        try:
            models.save(result.model, building / "model.graph")
            (building / "record.json").write_text(json.dumps(asdict(result.record)), "utf-8")
            building.replace(self.folder / key)
            shutil.rmtree(self.folder / f"{key}.work", ignore_errors=True)
        except OSError:
            pass  # a full disk, or another process finished the same stage first
        finally:
            shutil.rmtree(building, ignore_errors=True)
        self._trim()

    def _trim(self) -> None:
        places = sorted(self.folder.glob("[0-9a-f]*"), key=lambda p: p.stat().st_mtime, reverse=True)
        total = 0
        for place in places:
            total += sum(f.stat().st_size for f in place.rglob("*") if f.is_file())
            if total > self.limit_bytes:
                shutil.rmtree(place, ignore_errors=True)
