import json
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pocketlens.errors import ConfigError, DataError, UnsupportedModelError
from pocketlens.tasks import DB_LIMIT, TASKS, Classification, paired_interval, wilson_interval
from pocketlens.types import Json, ModelSpec, Preprocessing

TASK = Classification()

Logits = NDArray[np.float32]


def spec(class_ids: tuple[str, ...] = (), labels: tuple[str, ...] = ()) -> ModelSpec:
    return ModelSpec(
        name="tiny",
        input_shape=(3, 8, 8),
        preprocessing=Preprocessing(resize=None, crop=(8, 8)),
        class_ids=class_ids,
        labels=labels,
    )


def logits(*rows: list[float]) -> Logits:
    return np.array(rows, np.float32)


def measured(outputs: Logits, reference: Logits, labels: list[int] | None = None) -> Json:
    meter = TASK.meter()
    meter.update(outputs, reference, np.array([-1] * len(outputs) if labels is None else labels, np.int64))
    return meter.result()


# --- figures worked by hand


def test_fidelity_by_hand() -> None:
    reference = logits([3, 4, 0], [0, 0, 5])
    outputs = logits([4, 3, 0], [0, 0, 4])
    figures = measured(outputs, reference)
    assert figures["n"] == 2
    assert figures["nonfinite"] == 0
    assert figures["agreement"] == 0.5
    # Signal 9 + 16 + 25 = 50, noise 1 + 1 + 1 = 3.
    assert figures["sqnr_db"] == pytest.approx(10 * math.log10(50 / 3))
    assert figures["mean_max_error"] == 1.0
    assert figures["n_labelled"] == 0
    assert "top1" not in figures


def test_kl_by_hand() -> None:
    # softmax gives (3/4, 1/4) for the original and (1/2, 1/2) for the candidate.
    figures = measured(logits([0, 0]), logits([math.log(3), 0]))
    assert figures["kl"] == pytest.approx(0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5), abs=1e-7)


def test_accuracy_by_hand() -> None:
    reference = logits([9, 0, 0], [0, 9, 0], [0, 0, 9], [9, 0, 0], [9, 0, 0])
    outputs = logits([9, 0, 0], [9, 8, 0], [0, 0, 9], [0, 9, 0], [9, 0, 0])
    # right/right, right/wrong, wrong/wrong, wrong/right, and one without a label.
    figures = measured(outputs, reference, [0, 1, 1, 1, -1])
    assert figures["n"] == 5
    assert figures["n_labelled"] == 4
    assert figures["agreement"] == 3 / 5
    assert (figures["top1"], figures["reference_top1"], figures["top1_change"]) == (0.5, 0.5, 0.0)
    assert figures["top1_change_interval"] == list(paired_interval(lost=1, gained=1, n=4))
    # Three classes: any answer is among the best five.
    assert figures["top5"] == 1.0


def test_top5_by_hand_with_ties() -> None:
    outputs = logits([6, 5, 4, 3, 2, 1, 0], [1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1])
    # The fifth of the first; of equal logits the lower classes come first, so class 4 counts and class 5 does not.
    assert measured(outputs, outputs, [4, 4, 5])["top5"] == pytest.approx(2 / 3)


def test_sqnr_stays_in_json() -> None:
    same = logits([1, 2])
    assert measured(same, same)["sqnr_db"] == DB_LIMIT == 999.0
    assert measured(logits([1, 2]), logits([0, 0]))["sqnr_db"] == -DB_LIMIT
    assert measured(logits([1e20, 0]), logits([0, 1e-20]))["sqnr_db"] == pytest.approx(-800)
    assert measured(logits([1e38, 0]), logits([0, 1e-38]))["sqnr_db"] == -DB_LIMIT


def test_nan_counts_as_wrong_and_is_reported() -> None:
    nan, inf = float("nan"), float("inf")
    reference = logits([3, 0], [3, 0], [0, 2])
    figures = measured(logits([nan, 0], [inf, 0], [0, 1]), reference, [0, 0, 1])
    assert figures["nonfinite"] == 2
    assert figures["agreement"] == figures["top1"] == figures["top5"] == pytest.approx(1 / 3)
    assert figures["top1_change"] == pytest.approx(-2 / 3)
    # Only the third is comparable: signal 4, noise 1.
    assert figures["sqnr_db"] == pytest.approx(10 * math.log10(4))
    assert figures["mean_max_error"] == 1.0
    json.dumps(figures, allow_nan=False)


def test_nothing_finite_is_still_json() -> None:
    nothing = logits([float("nan")] * 2)
    figures = measured(nothing, nothing, [1])
    assert (figures["kl"], figures["mean_max_error"], figures["sqnr_db"]) == (None, None, -DB_LIMIT)
    assert figures["agreement"] == figures["top1"] == figures["reference_top1"] == 0.0
    json.dumps(figures, allow_nan=False)


def test_no_image_is_an_error() -> None:
    with pytest.raises(DataError, match="no image was measured"):
        TASK.meter().result()


def test_wrong_shapes_and_labels_are_refused() -> None:
    meter = TASK.meter()
    two, three = logits([1, 2]), logits([1, 2, 3])
    with pytest.raises(UnsupportedModelError, match=r"got \(1, 2\), \(1, 3\), \(1,\)"):
        meter.update(two, three, np.array([0]))
    with pytest.raises(UnsupportedModelError, match="labels"):
        meter.update(two, two, np.array([0, 1]))
    with pytest.raises(DataError, match="below the 2 classes of the model, got 2"):
        meter.update(two, two, np.array([2]))


# --- properties

rows = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 12), st.integers(2, 8)),
    elements=st.floats(-1e4, 1e4, width=32, allow_subnormal=False),
)


@given(rows, st.integers(0, 2**32 - 1))
def test_identical_outputs_change_nothing(outputs: Logits, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(-1, outputs.shape[1], len(outputs))
    figures = measured(outputs, outputs, labels.tolist())
    assert figures["agreement"] == 1.0
    assert figures["sqnr_db"] == DB_LIMIT
    assert figures["kl"] == figures["mean_max_error"] == 0.0
    if figures["n_labelled"]:
        assert figures["top1_change"] == 0.0
        assert figures["top1"] == figures["reference_top1"] <= figures["top5"]
        low, high = figures["top1_change_interval"]
        assert low < 0.0 < high
        assert low == -high


@settings(max_examples=50)
@given(rows, st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_batches_add_up(reference: Logits, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    outputs = (reference + rng.normal(size=reference.shape)).astype(np.float32)
    labels = rng.integers(-1, reference.shape[1], len(reference))
    streamed = TASK.meter()
    for start in range(0, len(outputs), size):
        part = slice(start, start + size)
        streamed.update(outputs[part], reference[part], labels[part])
    figures, expected = streamed.result(), measured(outputs, reference, labels.tolist())
    assert figures.keys() == expected.keys()
    for name, value in figures.items():
        assert value == pytest.approx(expected[name], rel=1e-9, abs=1e-9), name


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200))
def test_the_paired_interval_holds_its_estimate(lost: int, gained: int, rest: int) -> None:
    n = max(1, lost + gained + rest)
    low, high = paired_interval(lost, gained, n)
    assert -1 <= low <= (gained - lost) / n <= high <= 1
    assert paired_interval(gained, lost, n) == pytest.approx((-high, -low))


def test_memory_does_not_grow() -> None:
    meter = TASK.meter()
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(64, 100)).astype(np.float32)
    labels = np.zeros(64, np.int64)
    meter.update(batch, batch, labels)
    tracemalloc.start()
    try:
        for _ in range(10):
            meter.update(batch, batch, labels)
        few = tracemalloc.get_traced_memory()
        for _ in range(200):
            meter.update(batch, batch, labels)
        many = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert many[0] - few[0] < 2000
    assert many[1] - few[1] < 20_000
    assert meter.result()["n"] == 211 * 64


# --- intervals


def test_wilson_by_hand() -> None:
    # z^2 = 2.7055; n = 10, all right: low = n / (n + z^2), high = 1.
    assert wilson_interval(10, 10) == pytest.approx((10 / 12.705543, 1.0), abs=1e-6)
    assert wilson_interval(0, 10) == pytest.approx((0.0, 2.705543 / 12.705543), abs=1e-6)
    # Half: symmetric, half width z / (2 sqrt(n + z^2)).
    assert wilson_interval(5, 10) == pytest.approx((0.5 - 0.230731, 0.5 + 0.230731), abs=1e-5)


@given(st.integers(0, 100), st.integers(0, 100))
def test_wilson_holds_its_estimate(right: int, wrong: int) -> None:
    n = max(1, right + wrong)
    low, high = wilson_interval(right, n)
    assert 0 <= low <= right / n <= high <= 1


def test_paired_interval_by_hand() -> None:
    # b = 9, c = 3, n = 98: b' = 9.5, c' = 3.5, n' = 100, so -6 / 100 +- 1.644854 * sqrt(13 - 36 / 100) / 100.
    assert paired_interval(lost=9, gained=3, n=98) == pytest.approx((-0.118479, -0.001521), abs=1e-6)
    # Nothing changed: +- z / (n + 2).
    assert paired_interval(0, 0, 98) == pytest.approx((-0.016449, 0.016449), abs=1e-6)


@pytest.mark.parametrize(("n", "p_lost", "p_gained"), [(50, 0.05, 0.05), (200, 0.03, 0.02), (1300, 0.02, 0.01)])
def test_paired_interval_covers_as_often_as_it_says(n: int, p_lost: float, p_gained: float) -> None:
    rng = np.random.default_rng(7)
    trials = 4000
    tables = rng.multinomial(n, [p_lost, p_gained, 1 - p_lost - p_gained], size=trials)
    held = 0
    for lost, gained, _ in tables:
        low, high = paired_interval(int(lost), int(gained), n)
        held += low <= p_gained - p_lost <= high
    # Nominal 0.90; the standard error of 4,000 trials is 0.005, and the interval leans to the safe side.
    assert 0.88 <= held / trials <= 0.96


# --- answers


def test_answers_by_hand() -> None:
    model = spec(("n1", "n2", "n3"), ("cat", "dog", "owl"))
    [best] = TASK.answers(logits([0, math.log(2), math.log(5)]), model, 2)
    assert [(a["label"], a["class_id"], a["index"]) for a in best] == [("owl", "n3", 2), ("dog", "n2", 1)]
    assert [a["probability"] for a in best] == pytest.approx([5 / 8, 2 / 8])


def test_answers_are_stable_and_capped() -> None:
    first, second = TASK.answers(logits([1000, 1000, -1000], [-1e30, -1e30, -1e30]), spec(), 10)
    assert [a["index"] for a in first] == [0, 1, 2]
    assert [a["probability"] for a in first] == pytest.approx([0.5, 0.5, 0])
    assert [a["probability"] for a in second] == pytest.approx([1 / 3] * 3)
    assert first[0]["label"] == "class 0"
    assert first[0]["class_id"] == ""


def test_answers_of_nan_are_json() -> None:
    nan, inf = float("nan"), float("inf")
    answers = TASK.answers(logits([nan, 1, 0], [nan] * 3, [inf, 0, -inf]), spec(), 3)
    assert [a["index"] for a in answers[0]] == [1, 2, 0]
    assert answers[0][2]["probability"] == 0.0
    assert [a["probability"] for a in answers[1]] == [0.0] * 3
    assert [a["probability"] for a in answers[2]] == [1.0, 0.0, 0.0]
    json.dumps(answers, allow_nan=False)


def test_answers_need_a_positive_top_k() -> None:
    with pytest.raises(ConfigError, match="`top_k` must be at least 1, got 0"):
        TASK.answers(logits([1, 2]), spec(), 0)


# --- the shape of outputs


def test_outputs_that_are_classifications() -> None:
    TASK.check_output((5, 2), spec())
    TASK.check_output((1, 3), spec(class_ids=("a", "b", "c")))
    TASK.check_output((1, 3), spec(labels=("a", "b", "c")))


@pytest.mark.parametrize("shape", [(), (5,), (5, 1), (5, 0), (5, 10, 7, 7)])
def test_outputs_that_are_not(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedModelError, match=r"tiny: classification expects outputs \(n, classes\)") as caught:
        TASK.check_output(shape, spec())
    assert f"got {shape}" in str(caught.value)


def test_another_number_of_classes_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="expected 3 outputs, one for each class it names, got 1000"):
        TASK.check_output((1, 1000), spec(class_ids=("a", "b", "c")))


def test_the_table() -> None:
    assert {name: task.name for name, task in TASKS.items()} == {"classification": "classification"}
