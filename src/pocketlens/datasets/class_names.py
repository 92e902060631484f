"""From the names that a dataset gives its classes to the outputs of a model."""

import unicodedata
from collections.abc import Iterable, Sequence

from pocketlens.errors import DataError


def match(
    names: Iterable[str], class_ids: Sequence[str], labels: Sequence[str], *, where: str
) -> dict[str, int] | None:
    """Find each name among a model's classes: exactly in `class_ids`, else loosely among `labels`.

    Loosely means that case, spaces and underscores do not count: "golden_retriever" is "Golden Retriever".

    Args:
        names: of the dataset's classes.
        class_ids: the model's, in output order; an index into it is a label.
        labels: readable names in output order.
        where: the dataset, for the message.
    Returns: name -> output index; None if no name is known, so that the set is unlabelled.
    Raises: DataError if only some are known, or one stands for several outputs.
    """
    by_id = {name: index for index, name in enumerate(class_ids)}
    by_label: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        by_label.setdefault(_plain(label), []).append(index)
    found: dict[str, int] = {}
    unknown: list[str] = []
    for name in sorted(set(names)):
        outputs = [by_id[name]] if name in by_id else by_label.get(_plain(name), [])
        if len(outputs) > 1:
            raise DataError(
                f"expected each class of {where} to be one output of the model, but {name!r} labels "
                f"{len(outputs)} of them ({', '.join(map(str, outputs))}); name it by its class id"
            )
        if outputs:
            found[name] = outputs[0]
        else:
            unknown.append(name)
    if not found:
        return None
    if unknown:
        shown = ", ".join(unknown[:10]) + (f" and {len(unknown) - 10} more" if len(unknown) > 10 else "")
        raise DataError(
            f"expected the classes of {where} to be classes of the model, but {len(unknown)} of "
            f"{len(unknown) + len(found)} are not: {shown}; rename them to its class ids or remove them"
        )
    return found


def _plain(name: str) -> str:
    # NFKC, because macOS writes file names with accents apart from their letters.
    return unicodedata.normalize("NFKC", name).casefold().replace("_", "").replace(" ", "")
