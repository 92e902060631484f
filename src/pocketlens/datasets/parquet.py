"""A parquet file with a column of encoded images and one of labels."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import Any

from PIL.Image import Image

from pocketlens.datasets.class_names import match
from pocketlens.datasets.image_set import LazyImageSet
from pocketlens.datasets.images import open_image
from pocketlens.errors import DataError, ImageError

_CACHED_GROUPS = 2
"""Row groups in memory: the current one, and the next one that reading ahead has begun."""


class ParquetImages:
    """Random access to the image column of one file, by row group.

    Reading in order decodes each row group once. Reading in random order may decode one for every image:
    write files that are to be shuffled with row groups of a few hundred rows.
    """

    def __init__(self, path: Path, file: Any, column: str) -> None:
        """Take an open `pyarrow.parquet.ParquetFile`.

        Args:
            path: of the file, for messages.
            file: the open file.
            column: binary, or a struct with a binary field `bytes`.
        """
        self._path = path
        self._file = file
        self._column = column
        self._groups: OrderedDict[int, Any] = OrderedDict()
        self._lock = Lock()

    def read(self, group: int, row: int) -> bytes | None:
        """The encoded image in a row of a row group; None if it is null. Raises DataError if corrupt."""
        with self._lock:  # pyarrow's reader is not made for two threads at once
            if group not in self._groups:
                while len(self._groups) >= _CACHED_GROUPS:
                    self._groups.popitem(last=False)
                self._groups[group] = self._load(group)
            self._groups.move_to_end(group)
            column = self._groups[group]
        value = column[row].as_py()
        return value.get("bytes") if isinstance(value, dict) else value

    def _load(self, group: int) -> Any:
        import pyarrow

        try:
            return self._file.read_row_group(group, columns=[self._column]).column(self._column)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(
                f"expected an intact parquet file, got a corrupt {self._path} ({error}); fetch it again"
            ) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class RowItem:
    """An image in a row of a parquet file. See `image_set.Item`."""

    key: str
    label: int
    images: ParquetImages
    group: int
    row: int

    def open(self) -> Image:
        """The decoded RGB image. Raises ImageError."""
        content = self.images.read(self.group, self.row)
        if content is None:
            raise ImageError("expected the bytes of an image, got a null; fill the row or remove it")
        return open_image(content)

    def digest(self) -> bytes:
        """A hash of the row's bytes."""
        return blake2b(self.images.read(self.group, self.row) or b"", digest_size=16).digest()


def parquet(
    path: str | Path,
    class_ids: Sequence[str] = (),
    labels: Sequence[str] = (),
    *,
    image_column: str = "image",
    label_column: str = "label",
) -> LazyImageSet:
    """The images of a parquet file, in the order of its rows.

    Args:
        path: the file.
        class_ids: all classes of the model, in output order; strings in the label column are looked up here,
            and integers are indices into it.
        labels: their readable names, in output order.
        image_column: encoded images, binary or a struct with a binary field `bytes`.
        label_column: integers or strings; null is unknown. Without this column the set is unlabelled.
    Raises: DataError if the file is missing, corrupt or empty, lacks the image column, or has labels that are
        no output of the model.
    """
    path = Path(path)
    file = _open(path)
    columns = file.schema_arrow.names
    if image_column not in columns:
        raise DataError(f"expected a column {image_column!r} in {path}, got only {', '.join(columns)}; rename one")
    _require_binary(path, image_column, file.schema_arrow.field(image_column).type)
    if not file.metadata.num_rows:
        raise DataError(f"expected images in {path}, got no rows; give a file that holds some")
    notes: tuple[str, ...] = ()
    outputs: list[int] | None = None
    if label_column in columns:
        outputs = _labels(path, file, label_column, class_ids, labels)
    else:
        notes = (f"{path.name} has no column {label_column!r} (only {', '.join(columns)}), so it is unlabelled",)
    images = ParquetImages(path, file, image_column)
    places = (
        (group, row)
        for group in range(file.metadata.num_row_groups)
        for row in range(file.metadata.row_group(group).num_rows)
    )
    items = tuple(
        RowItem(key=f"{path.name}#{n}", label=outputs[n] if outputs else -1, images=images, group=group, row=row)
        for n, (group, row) in enumerate(places)
    )
    return LazyImageSet(name=path.stem, items=items, labelled=outputs is not None, notes=notes)


def _open(path: Path) -> Any:
    try:
        import pyarrow
        from pyarrow import parquet as pyarrow_parquet
    except ImportError as error:
        raise DataError(
            "reading parquet files needs pyarrow; install it: pip install 'pocketlens[optimize]'"
        ) from error
    if not path.is_file():
        raise DataError(f"expected a parquet file, but {path} is none or does not exist; check the path")
    try:
        return pyarrow_parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"expected a parquet file, got {path}, which is none or is cut short ({error})") from error


def _require_binary(path: Path, column: str, kind: Any) -> None:
    from pyarrow import types

    content = kind
    if types.is_struct(kind):
        index = kind.get_field_index("bytes")
        content = kind.field(index).type if index >= 0 else kind
    if not (types.is_binary(content) or types.is_large_binary(content)):
        raise DataError(
            f"expected encoded images in column {column!r} of {path}, got {kind}; "
            "store them as binary, or as a struct with a binary field `bytes`"
        )


def _labels(path: Path, file: Any, column: str, class_ids: Sequence[str], labels: Sequence[str]) -> list[int] | None:
    """One output index a row; None if the labels are names of which the model knows none."""
    import pyarrow
    from pyarrow import types

    try:
        values = file.read(columns=[column]).column(column)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"expected an intact parquet file, got a corrupt {path} ({error}); fetch it again") from error
    kind = values.type.value_type if types.is_dictionary(values.type) else values.type
    rows: list[Any] = values.to_pylist()
    if types.is_string(kind) or types.is_large_string(kind):
        known = match({name for name in rows if name is not None}, class_ids, labels, where=str(path))
        return None if known is None else [-1 if name is None else known[name] for name in rows]
    if not types.is_integer(kind):
        raise DataError(f"expected integers or strings in column {column!r} of {path}, got {kind}; convert it")
    outputs = [-1 if value is None else value for value in rows]
    classes = len(class_ids) or len(labels)
    if classes and not -1 <= min(outputs) <= max(outputs) < classes:
        raise DataError(
            f"expected labels in 0..{classes - 1} (the model's outputs) in column {column!r} of {path}, "
            f"got {min(outputs)}..{max(outputs)}; use a model trained on these classes"
        )
    return outputs
