from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet as pq

from pocketlens.datasets.parquet import parquet
from pocketlens.errors import DataError, ImageError
from pocketlens.types import Preprocessing

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "cifar10-jpeg"
PLAIN = Preprocessing(resize=None, crop=(4, 4), std=(1.0, 1.0, 1.0))


def png(grey: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (4, 4), (grey,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, images: pa.Array, labels: pa.Array | None, rows_a_group: int = 4) -> Path:
    columns = {"image": images} | ({} if labels is None else {"label": labels})
    pq.write_table(pa.table(columns), path, row_group_size=rows_a_group)
    return path


@pytest.mark.parametrize("as_struct", [False, True])
def test_rows_in_order_over_row_groups(tmp_path: Path, as_struct: bool) -> None:
    contents = [png(n) for n in range(11)]
    column = pa.array([{"bytes": c, "path": None} for c in contents] if as_struct else contents)
    images = parquet(write(tmp_path / "train.parquet", column, pa.array(range(11))))
    assert images.labelled
    batches = list(images.batches(PLAIN, 4))
    assert np.concatenate([b.labels for b in batches]).tolist() == list(range(11))
    assert np.concatenate([b.images[:, 0, 0, 0] for b in batches]).tolist() == list(range(11))
    assert batches[1].keys[0] == "train.parquet#4"
    image, label, key = images.image(9)
    assert (image.getpixel((0, 0)), label, key) == ((9, 9, 9), 9, "train.parquet#9")
    assert images.subset([10, 0]).image(0)[1] == 10


def test_few_row_groups_are_held(tmp_path: Path) -> None:
    images = parquet(write(tmp_path / "a.parquet", pa.array([png(n) for n in range(20)]), None, rows_a_group=2))
    list(images.batches(PLAIN, 4))
    assert len(images.items[0].images._groups) <= 2  # type: ignore[attr-defined]


def test_labels_by_name_and_null(tmp_path: Path) -> None:
    column = pa.array([png(n) for n in range(3)])
    path = write(tmp_path / "a.parquet", column, pa.array(["dog", None, "ant"]))
    assert parquet(path, ("ant", "bee", "dog")).labels == (2, -1, 0)
    assert parquet(path, ("x", "y"), ("Dog", "ANT")).labels == (0, -1, 1)
    unknown = parquet(path, ("x", "y"))
    assert (unknown.labelled, unknown.labels) == (False, (-1, -1, -1))
    with pytest.raises(DataError, match="1 of 2 are not: dog"):
        parquet(path, ("ant", "bee"))
    coded = write(tmp_path / "b.parquet", column, pa.array(["dog", None, "ant"]).dictionary_encode())
    assert parquet(coded, ("ant", "bee", "dog")).labels == (2, -1, 0)


def test_integer_labels_must_be_outputs(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", pa.array([png(1), png(2)]), pa.array([0, 3]))
    assert parquet(path, tuple("abcd")).labels == (0, 3)
    with pytest.raises(DataError, match=r"0\.\.2 .* got 0\.\.3"):
        parquet(path, tuple("abc"))


def test_broken_rows_are_skipped_and_named(tmp_path: Path) -> None:
    column = pa.array([png(1), b"not an image", None, b"", png(5)])
    images = parquet(write(tmp_path / "a.parquet", column, pa.array([1, 2, 3, 4, 5])))
    assert next(images.batches(PLAIN, 8)).labels.tolist() == [1, 5]
    assert list(images.skipped) == ["a.parquet#1", "a.parquet#2", "a.parquet#3"]
    assert "null" in images.skipped["a.parquet#2"]
    with pytest.raises(ImageError, match="begins with"):
        images.image(1)


def test_a_struct_without_bytes_in_a_row(tmp_path: Path) -> None:
    column = pa.array([{"bytes": png(1), "path": "a"}, {"bytes": None, "path": "b"}, None])
    images = parquet(write(tmp_path / "a.parquet", column, None))
    assert len(next(images.batches(PLAIN, 8)).keys) == 1
    assert len(images.skipped) == 2
    assert len(images.fingerprint()) == 32


def test_without_labels_the_set_says_so(tmp_path: Path) -> None:
    images = parquet(write(tmp_path / "a.parquet", pa.array([png(1)]), None))
    assert not images.labelled
    assert images.notes == ("a.parquet has no column 'label' (only image), so it is unlabelled",)


def test_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"img": [png(7)], "fine": [1]}), path)
    with pytest.raises(DataError, match=r"column 'image' in .*, got only img, fine"):
        parquet(path)
    assert parquet(path, image_column="img", label_column="fine").labels == (1,)
    with pytest.raises(DataError, match=r"column 'fine' .* got int64"):
        parquet(path, image_column="fine")
    with pytest.raises(DataError, match=r"integers or strings in column 'img'"):
        parquet(path, image_column="img", label_column="img")


def test_missing_foreign_truncated_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        parquet(tmp_path / "gone.parquet")
    path = tmp_path / "a.parquet"
    path.write_bytes(b"no parquet at all")
    with pytest.raises(DataError, match="is none or is cut short"):
        parquet(path)
    write(path, pa.array([png(n) for n in range(50)]), None)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="is none or is cut short"):
        parquet(path)
    with pytest.raises(DataError, match="got no rows"):
        parquet(write(path, pa.array([], pa.binary()), None))


def test_a_corrupt_row_group_is_an_error_not_a_skipped_image(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", pa.array([png(n) for n in range(40)]), None, rows_a_group=20)
    images = parquet(path)
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * 200)
    with pytest.raises(DataError, match="corrupt"):
        list(parquet(path).batches(PLAIN, 8))
    assert len(images) == 40


def test_cifar10() -> None:
    if not SHARED.is_dir():
        pytest.skip("shared/data/cifar10-jpeg is not beside the repository")
    images = parquet(SHARED / "test.parquet", tuple("abcdefghij"))
    assert (len(images), images.labelled) == (10_000, True)
    assert sorted(set(images.labels)) == list(range(10))
    assert images.image(9_999)[0].size == (32, 32)
