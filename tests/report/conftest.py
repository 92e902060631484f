"""A realistic report: EfficientNet-Lite0 on a 2-core AVX2 machine, figures as in docs and benchmarks.

To look at it: `pytest tests/report -k test_a_full_report --basetemp=/tmp/report`, then open the .html under
/tmp/report in a browser.
"""

import io
import math
from dataclasses import replace

import pytest
from PIL import Image

from pocketlens.datasets.sample import sample_photos
from pocketlens.report.data import Photo, ReportData, Stage
from pocketlens.types import (
    IntegerFormat,
    Interval,
    Json,
    Measurement,
    ModelSpec,
    Preprocessing,
    Profile,
    Record,
    Scheme,
    Spread,
    Verdict,
)

SPEC = ModelSpec(
    name="efficientnet_lite0",
    input_shape=(3, 224, 224),
    preprocessing=Preprocessing(resize=256, crop=(224, 224), mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0)),
)

PROFILE = Profile(
    device="this",
    system="Linux x86_64",
    cpu="Intel Xeon E5-2673 v4 @ 2.30GHz",
    cores=2,
    threads=2,
    memory_bytes=25_165_824_000,
    caches_bytes={"L1d": 32_768, "L2": 262_144, "L3": 52_428_800},
    instructions=("avx2", "fma", "f16c"),
    runtime="onnxruntime 1.32.0",
    scheme=Scheme(
        name="u8u8",
        activation=IntegerFormat(storage="uint8", qmin=0, qmax=255),
        weight=IntegerFormat(storage="uint8", qmin=1, qmax=255, zero_point=128),
    ),
    probe={
        "u8s8": {
            "saturates": True,
            "error": 0.882,
            "latency_ms": 1.31,
            "chosen": False,
            "reason": "products saturate in 16 bits: 88% of the outputs are wrong",
        },
        "u8s8 7-bit": {
            "saturates": False,
            "error": 0.0081,
            "latency_ms": 1.31,
            "chosen": False,
            "reason": "right, but half the weight levels are lost",
        },
        "u8u8": {
            "saturates": False,
            "error": 0.0039,
            "latency_ms": 1.36,
            "chosen": True,
            "reason": "right at full 8 bits, and only 4% slower than the fastest",
        },
    },
    peak={"fp32_gmacs": 52.3, "int8_gmacs": 61.0, "bandwidth_gbs": 11.8},
)

RECIPE = """name = "int8"
description = "8-bit weights and activations from calibration images."

[[pass]]
use = "FoldBatchNorm"

[[pass]]
use = "QuantizeStatic"
activations = "mse"
weights = "minmax"
scheme = { name = "u8u8", granularity = "per_channel" }

[[pass]]
use = "MatchMoments"
"""


def fidelity(agreement: float, sqnr_db: float, top1_change: float, half_width: float, n: int = 1300) -> Json:
    return {
        "n": n,
        "agreement": agreement,
        "agreement_interval": [agreement - 0.006, agreement + 0.005],
        "sqnr_db": sqnr_db,
        "kl": 0.0123 if sqnr_db < 100 else 0.0,
        "n_labelled": n,
        "top1": 0.832 + top1_change,
        "top5": 0.963,
        "reference_top1": 0.832,
        "top1_change": top1_change,
        "top1_change_interval": [top1_change - half_width, top1_change + half_width],
        "skipped": 2,
    }


def measurement(
    name: str,
    size_bytes: int,
    latency: dict[int, float],
    speedup: dict[int, tuple[float, float, float]],
    figures: Json,
    images: str = "imagenet-like",
) -> Measurement:
    spreads = {t: Spread(median=ms, p10=ms * 0.982, p90=ms * 1.061, n=21) for t, ms in latency.items()}
    return Measurement(
        name=name,
        size_bytes=size_bytes,
        disk_bytes=18_592_000 if size_bytes > 10e6 else 4_948_000,
        peak_memory_bytes={"fp32": 96_000_000, "int8": 71_000_000}.get(name, 99_500_000),
        parameters=4_652_008,
        macs=390_000_000,
        fidelity=figures,
        latency_ms=spreads,
        turns_ms={t: (ms,) * 21 for t, ms in latency.items()},
        speedup={t: Interval(estimate=e, low=low, high=high) for t, (e, low, high) in speedup.items()},
        load_ms={"fp32": 48.0, "int8": 61.3}.get(name, 66.1),
        roofline={"compute_share": 390e6 / latency[1] * 1e3 / 52.3e9, "bandwidth_share": 0.134},
        conditions={
            "device": "Intel Xeon E5-2673 v4 @ 2.30GHz, 2 cores",
            "runtime": "onnxruntime 1.32.0",
            "batch": 1,
            "threads": list(latency),
            "turns": 21,
            "runs_a_turn": 5,
            "images": images,
            "measured": "2025-11-24T09:00:00+00:00",
        },
    )


def stages() -> tuple[Stage, ...]:
    exact, rough, mended = (
        fidelity(1.0, 112.0, 0.0, 0.0, 400),
        fidelity(0.9775, 17.1, -0.0025, 0.008, 400),
        fidelity(0.9875, 20.2, 0.0, 0.006, 400),
    )
    val = "imagenet-sample"
    return (
        Stage(
            record=Record(name="FoldBatchNorm", config={}, summary={"folded": 49, "kept": 0}, seconds=0.21),
            measurement=measurement("1 FoldBatchNorm", 18_570_000, {1: 11.7}, {1: (1.0, 0.985, 1.013)}, exact, val),
            verdict=Verdict(
                name="FoldBatchNorm",
                outcome="no difference",
                size="18.6 MB as before",
                latency="no difference in latency (0.98 to 1.01x)",
                fidelity="top-1 +0.0 pt (+0.0 to +0.0): no difference, same answer as the original on 100.0% of 400 images",
                sentence="FoldBatchNorm made no difference.",
            ),
        ),
        Stage(
            record=Record(
                name="QuantizeStatic",
                config={"activations": "mse"},
                summary={"weights": 50, "activations": 60, "scheme": "u8u8", "mean_sqnr_db": 41.234},
                notes=("blocks_3_0_depthwise: 4 dead channels",),
                seconds=11.8,
            ),
            measurement=measurement("2 QuantizeStatic", 4_868_000, {1: 12.6}, {1: (0.931, 0.918, 0.945)}, rough, val),
            verdict=Verdict(
                name="QuantizeStatic",
                outcome="paid",
                size="18.6 -> 4.87 MB (3.8x smaller)",
                latency="1.07x slower (1.06 to 1.09)",
                fidelity="top-1 -0.3 pt (-1.1 to +0.6): no difference, same answer as the original on 97.8% of 400 images",
                sentence="QuantizeStatic paid (smaller), though it is slower.",
            ),
        ),
        Stage(
            record=Record(name="MatchMoments", config={}, summary={"layers": 49, "mean_gain": 1.0021}, seconds=9.4),
            measurement=measurement("3 MatchMoments", 4_869_000, {1: 12.6}, {1: (0.929, 0.915, 0.944)}, mended, val),
            verdict=Verdict(
                name="MatchMoments",
                outcome="paid",
                size="4.87 MB as before",
                latency="no difference in latency (0.98 to 1.02x)",
                fidelity="top-1 +0.0 pt (-0.6 to +0.6): no difference, same answer as the original on 98.8% of 400 images",
                sentence="MatchMoments paid: closer to the original.",
            ),
        ),
    )


def layer_times(graph: str) -> tuple[Json, ...]:
    """Fifty layers whose times fall and rise as in an inverted-residual network."""
    conv = {"fp32": "Conv", "float": "Conv", "int8": "QLinearConv"}[graph]
    scale = {"fp32": 1.0, "float": 1.01, "int8": 1.02}[graph]
    layers = [
        {
            "layer": f"blocks_{i // 3}_{i % 3}_{('expand', 'depthwise', 'project')[i % 3]}",
            "operator": conv,
            "latency_ms": scale * (0.05 + 0.55 * abs(math.sin(1.7 * i)) / (1 + i / 12)),
        }
        for i in range(48)
    ]
    layers.append({"layer": "classifier", "operator": "Gemm", "latency_ms": 0.31})
    if graph == "int8":
        layers.append({"layer": "input", "operator": "QuantizeLinear", "latency_ms": 0.19})
        layers += [{"layer": f"add_{i}", "operator": "QLinearAdd", "latency_ms": 0.06} for i in range(9)]
    else:
        layers += [{"layer": f"add_{i}", "operator": "Add", "latency_ms": 0.03} for i in range(9)]
    total = sum(x["latency_ms"] for x in layers)
    return tuple({**x, "share": x["latency_ms"] / total} for x in sorted(layers, key=lambda x: -x["latency_ms"]))


def photos(wanted: int = 8) -> tuple[Photo, ...]:
    found = []
    answers = ("Egyptian cat", "espresso", "spacesuit", "missile", "moped", "palace", "daisy")
    for i in range(wanted):
        name, image = sample_photos()[i % 7]
        label = answers[i % 7]
        side = min(image.size)
        buffer = io.BytesIO()
        image.convert("RGB").crop((0, 0, side, side)).resize((224, 224), Image.Resampling.LANCZOS).save(
            buffer, "JPEG", quality=80
        )
        after = "tabby, tabby cat" if i == 0 else label
        found.append(
            Photo(
                key=f"test/{label.replace(' ', '_')}/{name}",
                thumbnail=buffer.getvalue(),
                truth=label,
                before=({"label": label, "probability": 0.91 - i / 50}, {"label": "other", "probability": 0.04}),
                after=({"label": after, "probability": 0.88 - i / 40}, {"label": "other", "probability": 0.05}),
            )
        )
    return tuple(found)


@pytest.fixture(scope="session")
def lite0() -> ReportData:
    """EfficientNet-Lite0, labelled: int8 computation is slower here, the float graph is as fast as fp32."""
    baseline = measurement(
        "fp32", 18_592_000, {1: 11.7, 2: 6.52}, {1: (1.0, 1.0, 1.0), 2: (1.0, 1.0, 1.0)}, fidelity(1, 999.0, 0, 0)
    )
    int8 = measurement(
        "int8",
        4_792_000,
        {1: 12.58, 2: 7.01},
        {1: (0.931, 0.919, 0.943), 2: (0.93, 0.909, 0.952)},
        fidelity(0.9862, 20.1, -0.0008, 0.0045),
    )
    floating = measurement(
        "float",
        4_792_000,
        {1: 11.71, 2: 6.55},
        {1: (1.0, 0.988, 1.011), 2: (0.996, 0.975, 1.017)},
        fidelity(0.9931, 24.9, 0.0008, 0.0031),
    )
    same = "top-1 +0.1 pt (-0.2 to +0.4): no difference, same answer as the original on 99.3% of 1300 images"
    float_verdict = Verdict(
        name="float",
        outcome="paid",
        size="18.6 -> 4.79 MB (3.9x smaller)",
        latency="no difference in latency (0.99 to 1.01x)",
        fidelity=same,
        sentence="float paid: smaller.",
    )
    int8_verdict = Verdict(
        name="int8",
        outcome="paid",
        size="18.6 -> 4.79 MB (3.9x smaller)",
        latency="1.07x slower (1.06 to 1.09)",
        fidelity="top-1 -0.1 pt (-0.5 to +0.4): no difference, same answer as the original on 98.6% of 1300 images",
        sentence="int8 paid (smaller), though it is slower.",
    )
    errors = tuple(
        {
            "layer": x["layer"],
            "kind": "linear" if x["layer"] == "classifier" else "conv",
            "sqnr_db": 38 - 16 * i / 49 + 5 * math.sin(2.3 * i),
        }
        for i, x in enumerate(sorted(layer_times("fp32")[:49], key=lambda x: x["layer"]))
    )
    return ReportData(
        title="efficientnet_lite0",
        command="pocketlens squeeze efficientnet_lite0 --recipe int8 --calibration imagenet-sample --calibration-images 100 "
        "--test imagenet-like --out lite0.lens",
        created="2025-11-24T09:40:00+00:00",
        version="0.1.0",
        spec=SPEC,
        profile=PROFILE,
        baseline=baseline,
        graphs=(int8, floating),
        preferred="float",
        stages=stages(),
        verdict=float_verdict,
        verdicts=(int8_verdict, float_verdict),
        layer_times={name: layer_times(name) for name in ("fp32", "int8", "float")},
        layer_errors=errors,
        photos=photos(),
        recipe=RECIPE,
        data={
            "calibration": {"name": "imagenet-sample", "n": 100, "labelled": True, "skipped": {}},
            "validation": {"name": "imagenet-sample", "n": 400, "labelled": True, "skipped": {}},
            "test": {
                "name": "imagenet-like",
                "n": 1302,
                "labelled": True,
                "skipped": {
                    "n01534433/broken.jpg": "truncated: 4 of 92 kB are there",
                    "n01443537/empty.jpg": "the file has no bytes",
                },
            },
        },
        seconds={
            "probe": 2.1,
            "passes": 21.4,
            "lower": 12.3,
            "measure": 61.0,
            "profile layers": 9.2,
            "write": 0.6,
            "total": 106.6,
        },
    )


@pytest.fixture(scope="session")
def unlabelled(lite0: ReportData) -> ReportData:
    """The same without labels, photos, stages, profile of layers or probe, and with nothing else optional."""
    kept = ("n", "agreement", "sqnr_db", "kl")
    bare = [
        replace(m, fidelity={k: m.fidelity[k] for k in kept}, roofline={}, load_ms=0.0, peak_memory_bytes=0)
        for m in (lite0.baseline, *lite0.graphs)
    ]
    return replace(
        lite0,
        command="",
        profile=replace(PROFILE, probe={}, peak={}, scheme=None, instructions=(), caches_bytes={}),
        baseline=bare[0],
        graphs=tuple(bare[1:]),
        stages=(),
        layer_times={},
        layer_errors=(),
        photos=(),
        recipe="",
        data={},
        seconds={},
    )


def of(size_mb: float, disk_mb: float) -> Measurement:
    """A stage of so many megabytes to fetch and on disk."""
    made = measurement("x", round(size_mb * 1e6), {1: 5.0}, {1: (1.0, 0.99, 1.01)}, fidelity(0.98, 24.0, 0.0, 0.01))
    return replace(made, disk_bytes=round(disk_mb * 1e6))


@pytest.fixture(scope="session")
def packed(lite0: ReportData) -> ReportData:
    """10 MB -> 5 by integers -> 4 by packing -> 4.2 with what else a bundle holds."""
    stages = (
        Stage(record=Record(name="QuantizeStatic", config={}), measurement=of(5.0, 5.5)),
        Stage(record=Record(name="KeepFloat", config={})),
        Stage(record=Record(name="RoundForRate", config={}), measurement=of(4.0, 5.5)),
    )
    graphs = tuple(replace(graph, size_bytes=4_200_000) for graph in lite0.graphs)
    baseline = replace(lite0.baseline, size_bytes=10_000_000, disk_bytes=10_000_000)
    contents = {"weights": 3_360_000, "scales and biases": 420_000, "graphs": 0, "manifest": 420_000}
    return replace(lite0, baseline=baseline, stages=stages, graphs=graphs, contents=contents)
