from importlib import import_module

import numpy as np
import pytest
from tests.runtime.gallery.conftest import BACKBONE, MakeGallery

import pocketlens.runtime.gallery as public
from pocketlens.errors import BundleError, ConfigError
from pocketlens.runtime.gallery.gallery import MAX_VECTORS, Backbone, Entry, check_rows, codes, read_kind


def test_codes_are_unit_vectors_times_127() -> None:
    assert codes(np.array([[3.0, 0, 4], [0, -2, 0]])).tolist() == [[76, 0, 102], [0, -127, 0]]


@pytest.mark.parametrize("vector", [[0.0, 0, 0], [np.nan, 1, 0], [np.inf, 1, 0]])
def test_what_points_nowhere_has_no_codes(vector: list[float]) -> None:
    with pytest.raises(ConfigError, match="points nowhere"):
        codes(np.array([vector]))


def test_codes_keep_cosines() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((50, 256))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    coded = codes(vectors).astype(float)
    coded /= np.linalg.norm(coded, axis=1, keepdims=True)
    # Rounding moves a cosine by 0.003 or so; this is the largest of 1,225.
    assert np.abs(coded @ coded.T - vectors @ vectors.T).max() < 0.02


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": " "}, "`name` must be a text"),
        ({"name": "x" * 201}, "`name` must be a text"),
        ({"name": "a\x1b[2J"}, "without control characters"),
        ({"kind": "people"}, "`kind` must be products or landmarks"),
        ({"threshold": 1.5}, "`threshold`"),
        ({"threshold": float("nan")}, "`threshold`"),
        ({"margin": -0.1}, "`margin`"),
        ({"false_accept_rate": 2.0}, "`false_accept_rate`"),
        ({"entries": ()}, "needs an entry"),
        ({"entries": (Entry(id="a", label="a", vectors=2), Entry(id="a", label="b"))}, "one id"),
        ({"entries": (Entry(id="a", label="a"),)}, r"need int8 vectors \(1, 3\)"),
        ({"vectors": np.ones((3, 4), np.int8)}, r"need int8 vectors \(3, 3\)"),
        ({"vectors": np.ones((3, 3), np.float32)}, "got float32"),
        ({"vectors": np.array([[1, 0, 0], [0, 0, 0], [0, 1, 0]], np.int8)}, "vector 1 is all zeros"),
    ],
)
def test_parts_that_do_not_fit(changes: dict[str, object], message: str, make_gallery: MakeGallery) -> None:
    with pytest.raises(ConfigError, match=message):
        make_gallery(**changes)


@pytest.mark.parametrize("changes", [{"vectors": 0}, {"id": ""}, {"id": "a\nb"}, {"label": "\ud800"}])
def test_entries_that_are_none(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Entry(**{"id": "a", "label": "A", **changes})  # pyright: ignore


def test_emoji_that_are_joined_are_texts() -> None:
    assert Entry(id="cook", label="👩‍🍳 café").label == "👩‍🍳 café"


def test_a_million_vectors_are_too_many() -> None:
    with pytest.raises(ConfigError, match=f"at most {MAX_VECTORS} vectors, got 1000000; split it"):
        check_rows([Entry(id="a", label="a", vectors=10**6)])


def test_another_bundle_is_refused(make_gallery: MakeGallery) -> None:
    make_gallery().require_backbone(BACKBONE.fingerprint, "colours")
    with pytest.raises(
        BundleError, match=r"belongs to the bundle 'colours' \(abababababab\), got 'shapes' \(cdcdcdcdcdcd\)"
    ):
        make_gallery().require_backbone("cd" * 32, "shapes")


def test_kinds_and_backbones() -> None:
    assert read_kind("landmarks") == "landmarks"
    with pytest.raises(ConfigError, match="products or landmarks, got 'cars'"):
        read_kind("cars")
    with pytest.raises(ConfigError, match="dimensions"):
        Backbone(name="b", fingerprint="0" * 64, dimensions=0)


def test_every_public_name_is_there() -> None:
    # A name that a file of the package has too would be the file, once that is imported.
    for file in public._PUBLIC.values():
        import_module(f"pocketlens.runtime.gallery.{file}")
    for name, file in public._PUBLIC.items():
        assert getattr(public, name).__module__ == f"pocketlens.runtime.gallery.{file}"
