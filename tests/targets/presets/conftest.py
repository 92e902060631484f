"""Files made for each preset from the tiny network, and a way to spoil them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pocketlens.passes.cast_half import CastHalf
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.targets.presets.preset import Preset
from pocketlens.targets.presets.simulated import Simulated
from pocketlens.targets.presets.table import PRESETS
from pocketlens.types import Artifact, Context, Model


@pytest.fixture
def made(folded: Model, context: Context) -> Callable[[Preset], Model]:
    """The tiny network with a preset's numbers."""

    def make(preset: Preset) -> Model:
        if preset.scheme is None:
            return CastHalf()(folded, context).model
        return QuantizeStatic(scheme=preset.scheme, activations="minmax")(folded, context).model

    return make


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Artifact]]:
    """Exporting takes a second, so a session does it once a preset; tests change copies."""
    return tmp_path_factory.mktemp("files"), {}


@pytest.fixture
def exported(made: Callable[[Preset], Model], files: tuple[Path, dict[str, Artifact]]) -> Callable[[str], Artifact]:
    """A preset's name -> the tiny network's file for it."""
    root, known = files

    def export(name: str) -> Artifact:
        if name not in known:
            (root / name).mkdir()
            preset = PRESETS[name]
            known[name] = Simulated(preset=preset).lower(made(preset), preset.graph, root / name)
        return known[name]

    return export
