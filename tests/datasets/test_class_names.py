import pytest

from pocketlens.datasets.class_names import match
from pocketlens.errors import DataError

IDS = ("n01", "n02", "n03")
LABELS = ("Golden Retriever", "crane", "crane")


def test_a_class_id_wins_over_a_label() -> None:
    assert match(["n03", "n01"], IDS, ("n03", "b", "c"), where="d") == {"n03": 2, "n01": 0}


@pytest.mark.parametrize("name", ["golden_retriever", "Golden Retriever", "GOLDENRETRIEVER"])
def test_labels_match_loosely(name: str) -> None:
    assert match([name], IDS, LABELS, where="d") == {name: 0}


def test_accents_written_apart_match() -> None:
    assert match(["cafe\u0301"], (), ("Caf\u00e9",), where="d") == {"cafe\u0301": 0}


def test_class_ids_match_exactly() -> None:
    assert match(["N01"], IDS, (), where="d") is None


def test_nothing_known_is_unlabelled() -> None:
    assert match(["x", "y"], IDS, LABELS, where="d") is None
    assert match([], IDS, LABELS, where="d") is None


def test_some_unknown_are_named() -> None:
    with pytest.raises(DataError, match=r"classes of photos .* 2 of 3 are not: cat, dog; rename"):
        match(["dog", "n01", "cat"], IDS, LABELS, where="photos")


def test_an_ambiguous_label_is_refused() -> None:
    with pytest.raises(DataError, match=r"'crane' labels 2 of them \(1, 2\)"):
        match(["crane"], IDS, LABELS, where="d")
