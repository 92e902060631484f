import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketlens.datasets.sample import CropItem, SampleKind, sample, sample_photos
from pocketlens.errors import UnknownNameError

COUNTS: dict[SampleKind, int] = {"calibration": 64, "validation": 32, "test": 64}


def crops(kind: SampleKind) -> list[CropItem]:
    return [item for item in sample(kind).items if isinstance(item, CropItem)]


def test_counts_and_no_labels() -> None:
    for kind, count in COUNTS.items():
        images = sample(kind)
        assert (len(images), images.labelled, set(images.labels)) == (count, False, {-1})


def test_no_crop_and_no_photo_is_in_two_splits() -> None:
    parts = [(item.path, item.box, item.mirrored) for kind in COUNTS for item in crops(kind)]
    assert len(set(parts)) == len(parts) == 160
    photos = [{item.path for item in crops(kind)} for kind in COUNTS]
    assert sum(map(len, photos)) == len(set.union(*photos))
    stereo = [any("motorcycle" in path.name for path in paths) for paths in photos]
    assert sum(stereo) == 1


def test_always_the_same() -> None:
    assert sample("test").fingerprint() == sample("test").fingerprint()
    # Worked out once; a change here changes every figure that was ever measured on the sample.
    second = next(item for item in crops("test") if item.key == "chelsea.png#1")
    assert [round(edge, 3) for edge in second.box] == [0.082, 0.341, 0.971, 0.952]
    assert second.mirrored is False


def test_the_first_crop_is_the_whole_photo_and_the_others_are_parts() -> None:
    whole, part = (next(c for c in crops("test") if c.key == f"coffee.png#{n}") for n in (0, 1))
    photo = np.asarray(whole.open())
    assert photo.shape == (400, 600, 3)
    height, width, _ = np.asarray(part.open()).shape
    assert 200 <= height < 400
    assert 300 <= width < 600


def test_mirroring() -> None:
    box = (0.0, 0.0, 1.0, 1.0)
    path = crops("test")[0].path
    plain, mirrored = (CropItem(key="x", path=path, box=box, mirrored=m) for m in (False, True))
    assert np.array_equal(np.asarray(plain.open())[:, ::-1], np.asarray(mirrored.open()))
    assert plain.digest() != mirrored.digest()


def test_an_unknown_part_lists_the_known() -> None:
    with pytest.raises(UnknownNameError, match="calibration, test, validation"):
        sample("tset")  # type: ignore[arg-type]


def test_sample_photos_are_whole_rgb_photos() -> None:
    photos = dict(sample_photos())
    assert set(photos) == {"chelsea", "coffee", "astronaut", "rocket", "motorcycle_left", "china", "flower"}
    assert all(photo.mode == "RGB" and min(photo.size) >= 300 for photo in photos.values())


def test_the_command_writes_the_photos(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "pocketlens.datasets.sample", str(tmp_path / "photos")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    files = sorted((tmp_path / "photos").iterdir())
    assert len(files) == 7
    for file in files:
        with Image.open(file) as image:
            assert image.format == "JPEG"


def test_neither_torch_nor_the_packages_are_imported() -> None:
    code = (
        "import sys; from pocketlens.datasets import load; load('sample'); "
        "sys.exit(bool({'torch', 'skimage', 'sklearn', 'pyarrow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_the_packages_one_line_says_what_to_install(tmp_path: Path) -> None:
    # An interpreter that sees pocketlens, numpy and Pillow and nothing else: a bare base install.
    site = Path(np.__file__).parents[1]
    for name in ("numpy", "numpy.libs", "PIL", "pillow.libs"):
        if (site / name).exists():
            (tmp_path / name).symlink_to(site / name)
    source = Path(__file__).resolve().parents[2] / "src"
    code = f"""
import sys
sys.path += {[str(source), str(tmp_path)]!r}
from pocketlens.datasets import load
from pocketlens.errors import DataError
for spec in ("sample", "x.parquet"):
    try:
        load(spec)
    except DataError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("pip install 'pocketlens[optimize]'" in line for line in lines)
