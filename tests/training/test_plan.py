import pytest

from pocketlens.errors import ConfigError
from pocketlens.training.plan import TrainingPlan


def test_the_rate_rises_and_falls() -> None:
    plan = TrainingPlan(learning_rate=0.1, warmup=0.2)
    assert plan.rate(0.0) == 0.0
    assert plan.rate(0.1) == pytest.approx(0.05)
    assert plan.rate(0.2) == pytest.approx(0.1)
    assert plan.rate(0.6) == pytest.approx(0.05)
    assert plan.rate(1.0) == pytest.approx(0.0)


def test_without_warmup_it_starts_at_the_top() -> None:
    assert TrainingPlan(learning_rate=0.1, warmup=0.0).rate(0.0) == 0.1


def test_views_repeat() -> None:
    assert [TrainingPlan(views=3).view(e) for e in range(7)] == [0, 1, 2, 0, 1, 2, 0]
    assert [TrainingPlan(views=0).view(e) for e in (0, 5)] == [0, 5]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 0}, "`epochs` must be at least 1"),
        ({"batch_size": 1}, r"`batch_size` must be at least 2 .*two images.*, got 1"),
        ({"patience": -2}, "`patience` must be 0"),
        ({"weight_decay": float("inf")}, "`weight_decay` must be a number"),
        ({"mixup": -1.0}, "`mixup`"),
        ({"clip": -1.0}, "`clip`"),
        ({"momentum": 1.0}, "`momentum`"),
        ({"warmup": 1.0}, "`warmup`"),
        ({"label_smoothing": -0.1}, "`label_smoothing`"),
        ({"augment": "flip"}, "none, shift, crop, randaugment, got 'flip'"),
        ({"batchnorm": "eval"}, "train, frozen, got 'eval'"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be a number"),
        ({"learning_rate": -1.0}, "0 or more"),
        ({"ema": 1.0}, r"`ema` must be in \[0, 1\)"),
        ({"freeze": 1.0}, "`freeze`"),
        ({"smallest_crop": 0.0}, "smallest_crop"),
        ({"optimizer": "lion"}, "sgd, adamw"),
        ({"precision": "half"}, "auto, float32, bfloat16"),
        ({"views": -1}, "0 \\(off\\) or more"),
    ],
)
def test_bad_fields_say_what_would_do(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainingPlan(**fields)  # pyright: ignore
