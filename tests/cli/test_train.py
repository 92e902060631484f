import json
import shutil
from pathlib import Path

from tests.cli.conftest import Cli, one_line

from pocketlens.models import store


def test_from_photos_to_a_stored_graph_that_squeeze_takes(cli: Cli, stored: Path, photos: Path, tmp_path: Path) -> None:
    done = cli("train", stored, "--data", photos, "--out", "mine.graph", "--epochs", "2", "--batch-size", "4", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["classes"] == ["cat", "dog", "fish", "owl"]
    assert 1 <= len(result["epochs"]) <= 2
    assert 0 <= result["test"]["top1"] <= 1
    assert store.load(tmp_path / "mine.graph").spec.class_ids == ("cat", "dog", "fish", "owl")
    assert (tmp_path / "mine.graph" / "training.jsonl").read_text().count("\n") == len(result["epochs"])
    assert not (tmp_path / ".mine.graph.training").exists()
    squeezed = cli("squeeze", "mine.graph", "--data", photos, "--out", "mine.lens", "--json")
    assert squeezed.returncode == 0, squeezed.stderr
    assert json.loads(squeezed.stdout)["baseline"]["top1"] is not None


def test_the_head_alone(cli: Cli, stored: Path, photos: Path) -> None:
    done = cli("train", stored, "--data", photos, "--epochs", "0", "--json", "--out", "head.graph")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["epochs"] == []
    assert result["validation_top1"] == result["head_validation_top1"]


def test_one_image_a_class_is_enough(cli: Cli, stored: Path, photos: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    for folder in sorted(photos.iterdir()):
        (few / folder.name).mkdir(parents=True)
        shutil.copy(sorted(folder.iterdir())[0], few / folder.name)
    done = cli("train", stored, "--data", few, "--epochs", "1", "--out", "few.graph")
    assert done.returncode == 0, done.stderr
    assert "one image a class" in done.stdout


def test_an_existing_model_is_not_written_over(cli: Cli, stored: Path, photos: Path) -> None:
    done = cli("train", stored, "--data", photos, "--out", stored)
    assert done.returncode == 1
    assert "--force" in one_line(done.stderr)


def test_a_folder_without_classes(cli: Cli, stored: Path, photos: Path) -> None:
    done = cli("train", stored, "--data", photos / "cat")
    assert done.returncode == 1
    assert "one folder a class" in one_line(done.stderr)


def test_a_class_in_test_that_train_lacks(cli: Cli, stored: Path, photos: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(photos, data / "train")
    shutil.copytree(photos, data / "test")
    shutil.copytree(data / "test" / "cat", data / "test" / "zebra")
    done = cli("train", stored, "--data", data, "--out", "mine.graph")
    assert done.returncode == 1
    assert "zebra" in one_line(done.stderr)


def test_a_bad_field_is_one_line(cli: Cli, stored: Path, photos: Path) -> None:
    done = cli("train", stored, "--data", photos, "--augment", "wild", "--out", "x.graph")
    assert done.returncode == 2
    assert "none, shift, crop, randaugment" in one_line(done.stderr)


def test_a_backbone_without_a_linear_head(cli: Cli, photos: Path) -> None:
    done = cli("train", "torchvision:squeezenet1_1", "--weights", "random", "--data", photos, "--out", "x.graph")
    assert done.returncode == 1
    assert "must end in one linear layer" in done.stderr


def test_a_truncated_image_is_named_once(cli: Cli, stored: Path, photos: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(photos, data / "train")
    shutil.copytree(photos, data / "val")
    shutil.copytree(photos, data / "calibration")
    broken = data / "train" / "dog" / "2.png"
    broken.write_bytes(broken.read_bytes()[:200])
    done = cli("train", stored, "--data", data, "--epochs", "1", "--batch-size", "4", "--out", "mine.graph")
    assert done.returncode == 0, done.stderr
    assert "train: 1 image could not be read (dog/2.png" in done.stdout
    assert done.stdout.count("dog/2.png") == 1
