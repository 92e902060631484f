"""Product photos to a bundle for a phone: train, prune, distil, quantize, measure, recognize.

.venv/bin/python examples/products/products.py --data PHOTOS --out FOLDER
.venv/bin/python examples/products/products.py --small --out FOLDER
"""

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path

SMALL_RECIPE = """
name = "small"

[[pass]]
use = "PruneChannels"
macs = 0.2
criterion = "taylor"
weigh = "macs"

[[pass]]
use = "Distil"
epochs = 6
batch_size = 8
views = 1

[[pass]]
use = "FoldBatchNorm"

[[pass]]
use = "QuantizeStatic"

[[pass]]
use = "MatchMoments"
images = 16
"""
"""The recipe `fast` in small: the same steps, minutes instead of an hour."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder a product, or train/, val/ and test/ with these")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--small", action="store_true", help="three products made from the packaged photos")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    data, recipe, training = arguments.data, "fast", []
    if arguments.small:
        data, recipe = make_products(arguments.out / "photos"), str(arguments.out / "small.toml")
        Path(recipe).write_text(SMALL_RECIPE, "utf-8")
        training = ["--epochs", "1", "--input-size", "96"]
    if data is None:
        parser.error("--data PHOTOS or --small")
    graph, bundle = arguments.out / "products.graph", arguments.out / "products.lens"

    print("1. teach a pretrained network the products")
    trained = pocketlens("train", "efficientnet_lite0", "--data", data, "--out", graph, "--force", *training)
    print(f"   {len(trained['classes'])} products, validation top-1 {trained['validation_top1']:.1%}")

    print("2. prune, distil, quantize, measure")
    squeezed = pocketlens("squeeze", graph, "--data", data, "--recipe", recipe, "--out", bundle, "--force")
    before, after = squeezed["baseline"], squeezed["result"]
    print(f"   {before['size_bytes'] / 1e6:.1f} -> {after['size_bytes'] / 1e6:.2f} MB")
    print(f"   {before['latency_ms']['median']:.2f} -> {after['latency_ms']['median']:.2f} ms")
    print(f"   {squeezed['verdict']['sentence']}")
    print(f"   report: {squeezed['report']}")

    print("3. use it")
    photo = next(p for p in sorted(data.rglob("*")) if p.suffix.lower() in (".jpg", ".png"))
    answer = pocketlens("recognize", bundle, photo)
    best = answer["images"][0]["answers"][0]
    print(f"   {photo.name}: {best['label']} ({best['probability']:.0%})")
    print(f"   same answer on {after['agreement']:.1%} of {after['n']} test photos as before squeezing")


def pocketlens(*arguments: object) -> dict:
    """Run a verb and return its JSON."""
    command = [sys.executable, "-m", "pocketlens", *map(str, arguments), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout)


def make_products(folder: Path, photos: int = 24) -> Path:
    """Three "products": packaged photos, each cut and turned in many ways, one folder a product."""
    from pocketlens.datasets.sample import sample

    pictures = sample("test")
    chance = random.Random(0)
    for product in range(3):
        place = folder / f"product {product + 1}"
        place.mkdir(parents=True, exist_ok=True)
        picture, _, _ = pictures.image(product * (len(pictures) // 3))
        for number in range(photos):
            side = int(min(picture.size) * chance.uniform(0.5, 0.9))
            left, top = (chance.randint(0, size - side) for size in picture.size)
            turned = picture.crop((left, top, left + side, top + side)).rotate(chance.uniform(-15, 15))
            turned.resize((160, 160)).save(place / f"{number:02}.jpg", quality=90)
    return folder


if __name__ == "__main__":
    main()
