import pytest

from pocketlens.training.order import Clock, Order, Running


def test_running_means_by_hand() -> None:
    running = Running()
    running.add(2.0, 1, 4)
    running.add(1.0, 2, 2)
    assert running.loss == pytest.approx((2.0 * 4 + 1.0 * 2) / 6)
    assert running.accuracy == pytest.approx(3 / 6)


def test_nothing_seen_is_no_division_by_zero() -> None:
    assert (Running().loss, Running().accuracy) == (0.0, 0.0)


def test_each_image_once_and_no_incomplete_batch() -> None:
    order = Order(10, 4, seed=0)
    assert order.steps == 2
    batches = order.batches(0)
    assert [len(batch) for batch in batches] == [4, 4]
    seen = [i for batch in batches for i in batch]
    assert len(set(seen)) == 8
    assert set(seen) < set(range(10))
    assert sorted(i for batch in Order(8, 4, seed=0).batches(3) for i in batch) == list(range(8))


def test_the_only_batch_may_be_incomplete() -> None:
    order = Order(3, 64, seed=0)
    assert order.steps == 1
    assert sorted(order.batches(0)[0]) == [0, 1, 2]


def test_seed_and_epoch_decide() -> None:
    order = Order(64, 8, seed=5)
    assert order.batches(2) == Order(64, 8, seed=5).batches(2)
    assert order.batches(2) != order.batches(3)
    assert order.batches(2) != Order(64, 8, seed=6).batches(2)


def test_over_epochs_every_image_has_its_turn() -> None:
    order = Order(10, 4, seed=1)
    assert {i for epoch in range(12) for batch in order.batches(epoch) for i in batch} == set(range(10))


def test_the_clock_says_where_it_is() -> None:
    clock = Clock(7)
    clock.count(30)
    assert clock.seconds > 0
    assert clock.images_per_second > 0
    running = Running(total=3.0, right=1, n=2)
    assert clock.text(1, 4, running).startswith("epoch 2/7  loss 1.500  accuracy 50.0%  ")
