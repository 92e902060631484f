"""A folder of images: `class/file` or just files."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL.Image import Image

from pocketlens.datasets.class_names import match
from pocketlens.datasets.image_set import LazyImageSet, file_digest
from pocketlens.datasets.images import decode
from pocketlens.errors import DataError, ImageError

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"})
"""Files that are taken for images, whatever the case of the letters."""

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "test": ("test",),
    "calibration": ("calibration", "calib"),
}
"""Split -> what its folder or parquet file may be called."""

_ARCHIVE_LITTER = "__MACOSX"


@dataclass(frozen=True, kw_only=True, slots=True)
class FileItem:
    """An image in a file. See `image_set.Item`."""

    key: str
    label: int
    path: Path

    def open(self) -> Image:
        """The decoded RGB image. Raises ImageError."""
        try:
            with self.path.open("rb") as stream:
                return decode(stream)
        except OSError as error:
            raise ImageError(f"cannot be read ({error.strerror or error}); check its permissions") from error

    def digest(self) -> bytes:
        """A hash of the file's size and of samples of its bytes."""
        return file_digest(self.path)


def folder(path: str | Path, class_ids: Sequence[str] = (), labels: Sequence[str] = ()) -> LazyImageSet:
    """The images of a folder, in the order of their names.

    A sub-folder that holds images is a class. It is looked up among the model's classes (see `match`),
    so a label is an output of the model and never the rank of a folder among those present. If no folder is
    known, or the files lie in the folder itself, the set is unlabelled.

    Args:
        path: the folder. Hidden files and what is no image are ignored; links are followed, not in circles.
        class_ids: all classes of the model, in output order.
        labels: their readable names, in output order.
    Raises: DataError if the folder is missing or holds no image, or the model knows only some of its classes.
    """
    root = Path(path)
    _require_folder(root)
    try:
        loose = [Path(entry.path) for entry in _entries(root) if _is_image(entry)]
        classes = {entry.name: tuple(_images(Path(entry.path), (root,))) for entry in _entries(root) if entry.is_dir()}
    except OSError as error:
        raise DataError(f"expected a folder that can be listed, got {root} ({error}); check its permissions") from error
    filled = [name for name, files in classes.items() if files]
    outputs = match(filled, class_ids, labels, where=str(root))
    _refuse_splits(root, filled, known=outputs is not None)

    notes: list[str] = []
    empty = [name for name in classes if name not in filled]
    if empty:
        notes.append(f"{len(empty)} of {len(classes)} sub-folders hold no image: {', '.join(empty[:10])}")
    if outputs is not None and loose:
        notes.append(f"{len(loose)} images beside the class folders belong to no class and were left out")
        loose = []
    placed = [(file, -1) for file in loose]
    placed += [(file, outputs[name] if outputs else -1) for name in filled for file in classes[name]]
    if not placed:
        raise DataError(
            f"expected images ({' '.join(sorted(EXTENSIONS))}) in {root}, got none; "
            "give a folder of images, or of one sub-folder a class"
        )
    items = tuple(FileItem(key=file.relative_to(root).as_posix(), label=label, path=file) for file, label in placed)
    return LazyImageSet(
        name=root.resolve().name or str(root), items=items, labelled=outputs is not None, notes=tuple(notes)
    )


def class_folders(path: str | Path) -> tuple[str, ...]:
    """The names of a folder's class folders, sorted; empty ones too. None for a file.

    Raises: DataError if nothing is there.
    """
    root = Path(path)
    if root.is_file():
        return ()
    _require_folder(root)
    return tuple(entry.name for entry in _entries(root) if entry.is_dir())


def _require_folder(root: Path) -> None:
    if not root.exists():
        raise DataError(f"expected a folder of images, but {root} does not exist; check the path")
    if not root.is_dir():
        raise DataError(f"expected a folder of images, got the file {root}; give the folder it is in")


def _refuse_splits(root: Path, names: Sequence[str], *, known: bool) -> None:
    """A dataset's train/ and test/ must not be mixed into one set as if they were classes."""
    splits = {alias for aliases in SPLIT_NAMES.values() for alias in aliases}
    if names and not known and all(name.lower() in splits for name in names):
        raise DataError(
            f"expected classes or images in {root}, got the splits {', '.join(names)}; "
            f"give one of them ({root / names[0]}), or all with --data"
        )


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    """What is not hidden in a folder, by name: the same order on every file system."""
    with os.scandir(folder) as found:
        visible = [entry for entry in found if not entry.name.startswith(".") and entry.name != _ARCHIVE_LITTER]
    return sorted(visible, key=lambda entry: entry.name)


def _is_image(entry: "os.DirEntry[str]") -> bool:
    return os.path.splitext(entry.name)[1].lower() in EXTENSIONS and entry.is_file()  # noqa: PTH122 (a name, no path)


def _images(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    """Image files in a folder and below it, in order. A link to a folder above is not followed."""
    if any(folder.samefile(parent) for parent in above):
        return
    for entry in _entries(folder):
        if _is_image(entry):
            yield Path(entry.path)
        elif entry.is_dir():
            yield from _images(Path(entry.path), (*above, folder))
