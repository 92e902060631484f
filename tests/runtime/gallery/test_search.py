import time

import numpy as np
import pytest
from tests.runtime.gallery.conftest import MakeGallery

from pocketlens.errors import ConfigError
from pocketlens.runtime.gallery.gallery import Backbone, Entry, Gallery, codes
from pocketlens.runtime.gallery.search import Index, largest


def test_matches_by_hand(make_gallery: MakeGallery) -> None:
    # Red's second vector, (0.8, 0, 0.6), is nearer than its first: 0.96 against 0.6.
    first, second = Index(make_gallery()).search(np.array([[0.6, 0.0, 0.8]]))[0]
    assert (first.id, first.label, first.entry, first.accepted) == ("red", "Red", 0, True)
    assert first.cosine == pytest.approx(0.96, abs=0.01)
    assert (second.id, second.accepted) == ("green", False)
    assert second.cosine == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("threshold", "margin", "accepted"), [(0.7, 0.0, True), (0.71, 0.0, False), (0.5, 0.001, False), (-1.0, 0.0, True)]
)
def test_threshold_and_margin(threshold: float, margin: float, accepted: bool, make_gallery: MakeGallery) -> None:
    """Between red and green: the cosine with both is 0.707, and the earlier comes first."""
    index = Index(make_gallery(threshold=threshold, margin=margin))
    matches = index.search(np.array([[1.0, 1.0, 0.0]]))[0]
    assert [match.id for match in matches] == ["red", "green"]
    assert [match.accepted for match in matches] == [accepted, False]


def test_with_one_entry_the_threshold_alone_decides(make_gallery: MakeGallery) -> None:
    only = make_gallery(entries=(Entry(id="red", label="Red", vectors=3),), margin=2.0)
    assert Index(only).search(np.array([[1.0, 0, 0]]))[0][0].accepted


def test_a_query_of_zeros_is_unknown(make_gallery: MakeGallery) -> None:
    matches = Index(make_gallery()).search(np.zeros((1, 3)))[0]
    assert [match.cosine for match in matches] == [0, 0]
    assert not matches[0].accepted


def test_every_score_is_the_exact_cosine() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 4, 40)
    vectors = codes(rng.standard_normal((counts.sum(), 16)))
    gallery = Gallery(
        name="many",
        kind="landmarks",
        backbone=Backbone(name="b", fingerprint="0" * 64, dimensions=16),
        entries=tuple(Entry(id=str(i), label=str(i), vectors=int(n)) for i, n in enumerate(counts)),
        vectors=vectors,
        threshold=0.0,
        margin=0.0,
    )
    queries = rng.standard_normal((7, 16))
    rows = vectors.astype(float)
    cosines = queries @ rows.T / np.linalg.norm(queries, axis=1)[:, None] / np.linalg.norm(rows, axis=1)
    wanted = np.stack([part.max(axis=1) for part in np.split(cosines, np.cumsum(counts)[:-1], axis=1)], axis=1)
    index = Index(gallery)
    assert np.allclose(index.scores(queries), wanted, atol=1e-6)
    for query, row in zip(queries, wanted, strict=True):
        found = index.search(query[None], top_k=9)[0]
        assert [match.entry for match in found] == np.argsort(-row)[:9].tolist()
    assert len(index.search(queries, top_k=99)[0]) == 40


@pytest.mark.parametrize("queries", [np.zeros(3), np.zeros((1, 4)), np.array([[np.nan, 0, 0]])])
def test_queries_that_are_none(queries: np.ndarray, make_gallery: MakeGallery) -> None:
    with pytest.raises(ConfigError, match="queries must be"):
        Index(make_gallery()).search(queries)


def test_no_query_has_no_answer(make_gallery: MakeGallery) -> None:
    assert Index(make_gallery()).search(np.zeros((0, 3))) == []


def test_top_k_below_one(make_gallery: MakeGallery) -> None:
    with pytest.raises(ConfigError, match="`top_k` must be at least 1, got 0"):
        Index(make_gallery()).search(np.ones((1, 3)), top_k=0)


def test_largest_keeps_the_order_of_equals() -> None:
    values = np.array([1.0, 3, 3, 2, 3, 0])
    assert largest(values, 2).tolist() == [1, 2]
    assert largest(values, 4).tolist() == [1, 2, 4, 3]
    assert largest(values, 9).tolist() == [1, 2, 4, 3, 0, 5]


def test_a_search_among_50000_takes_milliseconds() -> None:
    vectors = codes(np.random.default_rng(0).standard_normal((50_000, 256), np.float32))
    gallery = Gallery(
        name="many",
        kind="products",
        backbone=Backbone(name="b", fingerprint="0" * 64, dimensions=256),
        entries=tuple(Entry(id=str(i), label=str(i)) for i in range(50_000)),
        vectors=vectors,
        threshold=0.5,
        margin=0.0,
    )
    index, times = Index(gallery), []
    for row in range(20):
        query = vectors[row : row + 1].astype(np.float32)
        start = time.perf_counter()
        assert index.search(query)[0][0].entry == row
        times.append(time.perf_counter() - start)
    # 3 ms on an idle core; the limit leaves room for a busy machine and catches a search that lost its way.
    assert min(times) < 0.03
