from dataclasses import replace

import pytest

from pocketlens.report import tables
from pocketlens.report.data import ReportData


def test_latency_rows_are_grouped_by_threads(lite0: ReportData) -> None:
    rows = tables.latency_rows(lite0)
    assert [(r.threads, r.name) for r in rows] == [(t, name) for t in (1, 2) for name in ("fp32", "int8", "float")]
    assert rows[0].original
    assert rows[0].speedup is None
    assert rows[1].strip is not None
    assert rows[1].strip[2] == 1.0  # the longest p90 of its group
    assert rows[0].strip is not None
    assert rows[0].strip[1] == pytest.approx(11.7 / (12.58 * 1.061))


def test_layers_pair_up_by_name_and_operators_add_up(lite0: ReportData) -> None:
    def item(layer: str, operator: str, latency_ms: float | None) -> dict[str, object]:
        return {"layer": layer, "operator": operator, "latency_ms": latency_ms, "share": 0.5}

    times = tables.layer_times(
        replace(
            lite0,
            layer_times={
                "int8": (item("a", "QLinearConv", 2.0), item("b", "QLinearConv", 1.0), item("q", "Cast", None)),
                "fp32": (item("b", "Conv", 4.0), item("a", "Conv", 3.0)),
            },
        )
    )
    assert times is not None
    assert times.graphs == ("fp32", "int8")  # the original first, whatever the order of the mapping
    assert [(row.name, [(b.graph, b.latency_ms, b.length) for b in row.bars]) for row in times.layers] == [
        ("b", [("fp32", 4.0, 1.0), ("int8", 1.0, 0.25)]),
        ("a", [("fp32", 3.0, 0.75), ("int8", 2.0, 0.5)]),
    ]
    assert [(row.name, [(b.place, b.latency_ms) for b in row.bars]) for row in times.operators] == [
        ("Conv", [(0, 7.0)]),
        ("QLinearConv", [(1, 3.0)]),
    ]
    assert times.layers[0].bars[1].operator == "QLinearConv"
    assert times.hidden == 0


def test_only_the_slowest_layers_are_shown(lite0: ReportData) -> None:
    times = tables.layer_times(lite0)
    assert times is not None
    assert len(times.layers) == 15
    assert times.hidden == 59 - 15  # 48 convolutions, classifier, input and 9 additions


def test_sizes_are_shares_of_the_largest(lite0: ReportData) -> None:
    bars = tables.size_bars(lite0, "size_bytes")
    assert bars == {"fp32": 1.0, "int8": pytest.approx(4792 / 18592), "float": pytest.approx(4792 / 18592)}
    unknown = replace(lite0, baseline=replace(lite0.baseline, size_bytes=0), graphs=lite0.graphs[1:])
    assert tables.size_bars(unknown, "size_bytes") == {"fp32": 0.0, "float": 1.0}


def test_skipped_images_come_with_their_split(lite0: ReportData) -> None:
    assert tables.skipped(lite0) == [
        ("test", "n01534433/broken.jpg", "truncated: 4 of 92 kB are there"),
        ("test", "n01443537/empty.jpg", "the file has no bytes"),
    ]
