"""EfficientNet-Lite0 without training: rounded for rate beside plain int8, and 16 centroids beside its peers."""

from collections.abc import Mapping

from packing.bench import Bench, Row, interval
from packing.kinds import CLUSTERS, FOUR_BITS, PLAIN, SHARE, SHARES, Passes, clustered, rounded
from packing.kmeans_peer import KMeansPeer
from packing.shipped import Shipped
from pocketlens import ClusterWeights, MatchMoments, RoundAdaptively
from pocketlens.types import Json, Pass


def choose(bench: Bench) -> None:
    """Shares and repairs on validation photos, against the plain int8 file."""
    plain = bench.shipped("plain int8", *PLAIN)
    repairs: list[tuple[float, Pass]] = [(share, MatchMoments()) for share in SHARES]
    # Adaptive rounding takes the codes anew, and with them more bytes: one share shows it.
    for share, repair in (*repairs, (SHARE, RoundAdaptively())):
        name = f"share {share}, {type(repair).__name__}"
        packed = bench.shipped(name, *rounded(share, repair))
        _, score = bench.scores([plain.graph(), packed.graph()], bench.photos.validation)
        row = against(plain, packed) | _same("plain", score) | {"images": "validation", "n": score["n"]}
        bench.keep("choose", {"file": name, "share": share} | row, "file")


def int8(bench: Bench) -> None:
    """The share that was chosen, scored once on the test photos against the plain int8 file and against fp32."""
    plain = bench.shipped("plain int8", *PLAIN)
    packed = bench.shipped("rate-rounded", *rounded(SHARE))
    _, *scores = bench.scores([bench.original, plain.graph(), packed.graph()], bench.photos.test)
    for shipped, score in zip((plain, packed), scores, strict=True):
        _, same = bench.scores([plain.graph(), shipped.graph()], bench.photos.test)
        row = against(plain, shipped) | _same("plain", same) | _same("fp32", score) | accuracy(score)
        share = SHARE if shipped is packed else None
        bench.keep("int8", {"file": shipped.name, "share": share} | row | {"images": "test"}, "file")


def centroids(bench: Bench) -> None:
    """Exported files of equal codebooks, ours and scikit-learn's, and adaptive rounding at 4 bits; on test photos."""
    plain = bench.shipped("plain int8", *PLAIN)
    ways: Mapping[str, Passes] = {
        "plain int8": PLAIN,
        "ClusterWeights": clustered(ClusterWeights(clusters=CLUSTERS)),
        "ClusterWeights, unweighted": clustered(ClusterWeights(clusters=CLUSTERS, weighted=False)),
        "scikit-learn KMeans, n_init=1": clustered(KMeansPeer(clusters=CLUSTERS, n_init=1)),
        "scikit-learn KMeans, n_init=10": clustered(KMeansPeer(clusters=CLUSTERS, n_init=10)),
        "4 bits, RoundAdaptively": FOUR_BITS,
    }
    for name, passes in ways.items():
        shipped = bench.shipped(name, *passes)
        _, score = bench.scores([bench.original, shipped.graph()], bench.photos.test)
        row = against(plain, shipped) | _same("fp32", score) | accuracy(score) | {"images": "test"}
        bench.keep("centroids", {"file": name} | row, "file")


def against(plain: Shipped, shipped: Shipped) -> Row:
    """Bytes beside those of the plain file under zstd -19."""
    under = 1 - shipped.size_bytes / plain.onnx_zstd19_bytes
    return shipped.sizes() | {"under_zstd19_of_plain_onnx": under, "seconds_of_passes": shipped.seconds}


def accuracy(score: Json) -> Row:
    """Accuracy against the original, with its paired interval."""
    return {
        "n": score["n"],
        "top1": score["top1"],
        "top1_change": score["top1_change"],
        "top1_change_interval": interval(score["top1_change_interval"]),
    }


def _same(other: str, score: Json) -> Row:
    return {
        f"same_answer_as_{other}": score["agreement"],
        f"same_answer_as_{other}_interval": interval(score["agreement_interval"]),
        f"sqnr_db_to_{other}": score["sqnr_db"],
    }
