"""How small a download becomes: weights rounded for the coder, clustered, pruned, coded; general compressors beside it.

    .venv/bin/python benchmarks/pack.py --data DATA_DIR --weights WEIGHTS_DIR [--part NAME ...] [--few 24]

DATA_DIR holds imagenet-sample/, imagenet-like/, grocery/ and cifar10-jpeg/. Accuracies are of the exported files, taken
out of their bundles. Resumable: finished passes are kept in --work, and a training that was cut goes on from its last
checkpoint; give a fresh --work after passes were changed. Writes benchmarks/results/pack_*.csv, a row as soon as it is
known. --few tries a part out on so many images, and leaves its tables in --work. Nothing else should run while
`kmeans`, `decode`, `chromium` and `lite0` are timed.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from packing.bench import Bench
from packing.coders import coders
from packing.decode import chromium, decode
from packing.equal_bytes import equal
from packing.kmeans import kmeans
from packing.recipes import TASKS, small
from packing.without_training import centroids, choose, int8

from pocketlens.targets.cache import cache_folder

PARTS: dict[str, Callable[[Bench], None]] = {
    "choose": choose,
    "int8": int8,
    "kmeans": kmeans,
    "centroids": centroids,
    "equal": equal,
    "coders": coders,
    "decode": decode,
    "chromium": chromium,
}


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--weights", required=True, type=Path)
    parser.add_argument("--part", choices=(*PARTS, *TASKS), action="append")
    parser.add_argument("--recipe", help="of grocery, resnet56 or lite0: a shipped recipe or a TOML file, not its own")
    parser.add_argument("--work", type=Path, default=cache_folder() / "benchmarks")
    parser.add_argument("--few", type=int, help="images of each set, to try a part out")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(data=arguments.data, weights=arguments.weights, work=arguments.work, few=arguments.few)
    for part in arguments.part or (*PARTS, *TASKS):
        print(f"== {part}", flush=True)
        if part in PARTS:
            PARTS[part](bench)
        else:
            small(bench, part, arguments.recipe)


if __name__ == "__main__":
    main()
