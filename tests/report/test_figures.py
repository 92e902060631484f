import math

import pytest

from pocketlens.report import figures
from pocketlens.types import Interval

MISSING = (None, math.nan, math.inf, "text", True)


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize(
    "form",
    [
        figures.megabytes,
        figures.binary_bytes,
        figures.milliseconds,
        figures.duration,
        figures.percent,
        figures.points,
        figures.decibels,
        figures.scientific,
        figures.count,
        figures.factor,
    ],
)
def test_what_is_no_number_was_not_measured(form: object, missing: object) -> None:
    assert callable(form)
    assert form(missing) == "not measured"


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "not measured"), (12_340, "12.3 kB"), (4_871_234, "4.87 MB"), (18_592_000, "18.6 MB"), (2e9, "2,000.0 MB")],
)
def test_megabytes_are_decimal(size_bytes: float, text: str) -> None:
    assert figures.megabytes(size_bytes) == text


def test_caches_are_binary() -> None:
    assert figures.binary_bytes(49_152) == "48 KiB"
    assert figures.binary_bytes(512) == "512 B"
    assert figures.binary_bytes(1.25 * 2**20) == "1.25 MiB"


def test_milliseconds_have_three_digits() -> None:
    assert [figures.milliseconds(v) for v in (0.1234, 1.234, 12.34, 1234.0)] == [
        "0.123 ms",
        "1.23 ms",
        "12.3 ms",
        "1,234 ms",
    ]


def test_durations() -> None:
    assert [figures.duration(v) for v in (0.21, 42.4, 106.6)] == ["0.2 s", "42 s", "1 min 47 s"]


def test_points_carry_a_true_sign_and_none_at_zero() -> None:
    assert figures.points(-0.004) == "\u22120.4 pt"
    assert figures.points(0.0024) == "+0.2 pt"
    assert figures.points(-0.0001) == "0.0 pt"
    assert figures.points_range(-0.004, 0.002) == "\u22120.4 to +0.2 pt"
    assert figures.points_range(None, 0.002) == "not measured"


def test_identical_outputs_have_no_noise() -> None:
    assert figures.decibels(999.0) == "identical"
    assert figures.decibels(-999.0) == "no finite output"
    assert figures.decibels(-2.61) == "\u22122.6 dB"


def test_counts() -> None:
    assert [figures.count(v) for v in (0, 1300, 4_652_008, 385_190_000, 1.2e9)] == [
        "0",
        "1,300",
        "4.65 M",
        "385 M",
        "1.2 G",
    ]


@pytest.mark.parametrize(
    ("interval", "word", "span"),
    [
        ((1.94, 1.90, 1.98), "1.94× faster", "1.90 to 1.98×"),
        ((0.8, 0.5, 0.9), "1.25× slower", "1.11 to 2.00×"),
        ((0.99, 0.97, 1.03), "no difference", "0.97 to 1.03×"),
        ((math.nan, math.nan, math.nan), "not measured", "not measured"),
    ],
)
def test_speed_and_its_interval_point_the_same_way(interval: tuple[float, float, float], word: str, span: str) -> None:
    speedup = Interval(estimate=interval[0], low=interval[1], high=interval[2])
    assert figures.speed(speedup) == word
    assert figures.ratio_range(speedup) == span


def test_a_speed_that_nobody_measured() -> None:
    assert figures.speed(None) == figures.ratio_range(None) == "not measured"


def test_clauses_of_a_verdict_become_prose() -> None:
    fixed = "\u00a0"
    assert figures.prose("18.6 -> 4.8 MB (3.9x smaller)") == f"18.6{fixed}→{fixed}4.8{fixed}MB (3.9× smaller)"
    assert figures.prose("top-1 -0.1 pt (-0.4 to +0.2)") == f"top-1 \u22120.1{fixed}pt (\u22120.4 to +0.2)"
    assert figures.prose("a 2024-11-24 x model-7") == "a 2024-11-24 x model-7"


def test_values_of_a_record() -> None:
    given = (None, True, 0.123456, 1300, [1, 2.5], {"two_words": False}, [], "text")
    said = ["not measured", "yes", "0.1235", "1,300", "1, 2.5", "two words no", "none", "text"]
    assert [figures.value(v) for v in given] == said
