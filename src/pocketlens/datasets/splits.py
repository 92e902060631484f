"""From what a user names to image sets, and from one set to several."""

from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import cast

from pocketlens.datasets.folder import SPLIT_NAMES, folder
from pocketlens.datasets.image_set import LazyImageSet
from pocketlens.datasets.parquet import parquet
from pocketlens.datasets.sample import SampleKind, sample
from pocketlens.errors import ConfigError, DataError
from pocketlens.types import Data

DATASETS: dict[str, Callable[[str, Sequence[str], Sequence[str]], LazyImageSet]] = {
    "folder": folder,
    "parquet": parquet,
    "sample": lambda kind, class_ids, labels: sample(cast(SampleKind, kind)),
}
"""Kind -> function of (where, class_ids, labels). "KIND:WHERE" names a set; a bare path shows its kind."""

CALIBRATION_IMAGES = 128
"""At most so many are taken out of train to calibrate: ranges settle with about 100."""


def load(
    spec: str | Path,
    class_ids: Sequence[str] = (),
    labels: Sequence[str] = (),
    *,
    part: SampleKind = "test",
) -> LazyImageSet:
    """The image set that a spec names.

    Args:
        spec: a folder, a .parquet file, "sample:calibration", or "KIND:WHERE" with a kind of `DATASETS`. The
            string "sample" is the built-in sample; write "./sample" for a folder of that name.
        class_ids: all classes of the model, in output order.
        labels: their readable names, in output order.
        part: the part of the built-in sample that "sample" alone stands for.
    Raises: DataError if nothing usable is there.
    """
    if isinstance(spec, str):
        kind, _, where = (f"sample:{part}" if spec == "sample" else spec).partition(":")
        if kind in DATASETS and where:
            return DATASETS[kind](where, class_ids, labels)
    path = Path(spec).expanduser()
    kind = "parquet" if path.suffix.lower() == ".parquet" else "folder"
    return DATASETS[kind](str(path), class_ids, labels)


def load_data(root: str | Path, class_ids: Sequence[str] = (), labels: Sequence[str] = (), *, seed: int = 0) -> Data:
    """The splits of a dataset.

    `root` may hold a folder or a parquet file for each split, called as in `folder.SPLIT_NAMES`; a split that
    is missing is None, except that validation (a tenth) and calibration come out of train. Otherwise `root`
    is one set (a folder or a parquet file): test and validation take a tenth each, train the rest less
    calibration. Where most classes have one image only, all of them train and calibrate, and nothing is taken out.

    Args:
        root: see above.
        class_ids: all classes of the model, in output order.
        labels: their readable names, in output order.
        seed: decides what comes out of train.
    Raises: DataError if nothing usable is there, or too little to split.
    """
    root = Path(root).expanduser()
    given = {split: load(path, class_ids, labels) for split, path in _find_splits(root, class_ids).items()}
    if not given:
        whole = load(root, class_ids, labels)
        if _one_a_class(whole):
            return Data(train=whole, calibration=whole)
        rest, given["test"] = _take_tenth(whole, len(whole), seed)
        given["train"], given["validation"] = _take_tenth(rest, len(whole), seed)
    train = given.get("train")
    if train is not None and _one_a_class(train):
        # Nothing can be taken out of it without losing classes.
        given.setdefault("calibration", train)
        return Data(train=train, **{k: v for k, v in given.items() if k != "train"})
    if train is not None and "validation" not in given:
        train, given["validation"] = _take_tenth(train, len(train), seed)
    if train is not None and "calibration" not in given:
        train, given["calibration"] = _take_tenth(train, min(len(train), 10 * CALIBRATION_IMAGES), seed)
    return Data(
        train=train,
        calibration=given.get("calibration"),
        validation=given.get("validation"),
        test=given.get("test"),
    )


def carve(images: LazyImageSet, n: int, seed: int = 0) -> tuple[LazyImageSet, LazyImageSet]:
    """Take `n` images out of a set: two disjoint sets, each in the order of the whole.

    Each class gives its share. Copies of one image stay together, so fewer than `n` come if a group of copies
    would have to be torn apart. Content and seed alone decide which images are taken: not their names.

    Args:
        images: the set.
        n: how many to take, at least 1 and fewer than there are.
        seed: another one takes others.
    Returns: the rest and the part.
    Raises: ConfigError for an `n` out of range; DataError if the images are all copies of one another.
    """
    if not 0 < n < len(images):
        raise ConfigError(f"`n` must lie in 1..{len(images) - 1} to leave some of {len(images)} images, got {n}")
    copies: dict[bytes, list[int]] = {}
    for index, digest in enumerate(images.digests()):
        copies.setdefault(digest, []).append(index)
    classes: dict[int, list[list[int]]] = {}
    for digest in sorted(copies, key=lambda digest: _lot(seed, digest)):
        group = copies[digest]
        classes.setdefault(images.items[group[0]].label, []).append(group)
    room = _shares({label: sum(map(len, groups)) for label, groups in classes.items()}, n, seed)
    taken: set[int] = set()
    for label, groups in classes.items():
        for group in groups:
            if len(group) <= room[label]:
                taken.update(group)
                room[label] -= len(group)
    if not taken:
        raise DataError(
            f"expected different images in {images.name} to take {n} out, but its {len(images)} "
            f"images are copies of {len(copies)}; add different ones"
        )
    rest = [index for index in range(len(images)) if index not in taken]
    return images.subset(rest), images.subset(sorted(taken))


def _find_splits(root: Path, class_ids: Sequence[str]) -> dict[str, Path]:
    """Split -> its folder or parquet file. A folder named after a class of the model is no split."""
    found: dict[str, Path] = {}
    if not root.is_dir():
        return found
    for path in sorted(root.iterdir()):
        name = path.name if path.is_dir() else path.stem
        if not (path.is_dir() or path.suffix.lower() == ".parquet") or name in class_ids:
            continue
        for split, aliases in SPLIT_NAMES.items():
            if name.lower() not in aliases:
                continue
            if split in found:
                raise DataError(
                    f"expected one {split} split in {root}, got {found[split].name} and {path.name}; remove one"
                )
            found[split] = path
    return found


def _one_a_class(images: LazyImageSet) -> bool:
    """Whether most classes have a single image, so that none can be spared."""
    counts = Counter(images.labels) if images.labelled else Counter()
    return bool(counts) and sum(n == 1 for n in counts.values()) > len(counts) / 2


def _take_tenth(images: LazyImageSet, whole: int, seed: int) -> tuple[LazyImageSet, LazyImageSet]:
    """The rest, and a tenth of `whole` images, at least one."""
    if len(images) < 2:
        raise DataError(
            f"expected enough images in {images.name} to split them, got too few; add some or give all splits"
        )
    return carve(images, max(1, round(whole / 10)), seed)


def _lot(seed: int, thing: object) -> bytes:
    """A place in an order that looks random, the same on every machine and whatever else is in the set."""
    return blake2b(repr((seed, thing)).encode(), digest_size=16).digest()


def _shares(sizes: dict[int, int], n: int, seed: int) -> dict[int, int]:
    """Share `n` among classes in proportion to their sizes, by largest remainder; the sum is `n`.

    Of equal remainders a lot decides, so that a small `n` does not fall on the first classes. A class of a
    single image gives it only when the others cannot.
    """
    total = sum(sizes.values())
    shares = {label: n * size // total for label, size in sizes.items()}
    order = sorted(sizes, key=lambda label: (sizes[label] == 1, -(n * sizes[label] % total), _lot(seed, label)))
    for label in order[: n - sum(shares.values())]:
        shares[label] += 1
    return shares
