"""The 1,000 ImageNet classes: wnids in output order and readable names, from timm's tables."""

from functools import cache


@cache
def imagenet_classes() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(wnids, names), each 1,000 long, in output order (sorted by wnid). Names are the first lemma, made unique."""
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    ids = tuple(info.label_names())
    names: list[str] = []
    for wnid in ids:
        lemmas = [lemma.strip() for lemma in info.label_name_to_description(wnid).split(",")]
        # Two classes are called "crane" and two "maillot": the next lemma, or the wnid, tells them apart.
        names.append(next((lemma for lemma in lemmas if lemma not in names), f"{lemmas[0]} ({wnid})"))
    return ids, tuple(names)
