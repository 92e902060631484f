"""`pocketlens gallery` and `recognize --gallery`, on a bundle whose embedding is a picture's colour."""

import json
import zipfile
from pathlib import Path

import pytest
from tests.cli.conftest import Cli, one_line
from tests.runtime.conftest import pack  # noqa: F401 (a fixture)
from tests.runtime.gallery.conftest import PaintPhotos, colour_lens, paint  # noqa: F401 (fixtures)

RED, GREEN, BLUE, YELLOW = (220, 40, 40), (40, 220, 40), (40, 40, 220), (220, 220, 40)


@pytest.fixture
def shelf(paint: PaintPhotos) -> Path:  # noqa: F811
    """Three photos each of red, green and blue; `new` has red and yellow ones."""
    paint("new", seed=1, red=RED, yellow=YELLOW)
    return paint("shelf", red=RED, green=GREEN, blue=BLUE)


@pytest.fixture
def gallery(cli: Cli, colour_lens: Path, shelf: Path) -> Path:  # noqa: F811
    """A gallery of red, green and blue."""
    done = cli("gallery", "build", shelf, "--bundle", colour_lens, "--out", "shelf.gallery", "--validation", "new")
    assert done.returncode == 0, done.stderr
    return shelf.parent / "shelf.gallery"


def test_build_says_what_the_threshold_rests_on(cli: Cli, colour_lens: Path, shelf: Path) -> None:  # noqa: F811
    (shelf / "red" / "bad.jpg").write_bytes(b"no picture")
    command = ("gallery", "build", shelf, "--bundle", colour_lens, "--out", "g.gallery", "--kind", "landmarks")
    found = json.loads(cli(*command, "--name", "Colours", "--json").stdout)
    assert (found["name"], found["kind"], found["photos"], found["vectors"]) == ("Colours", "landmarks", 9, 3)
    assert list(found["skipped"]) == ["red/bad.jpg"]
    assert found["operating_point"]["source"] == "enrolled"
    assert (found["operating_point"]["unseen"], found["operating_point"]["things"]) == (9, 3)
    again = cli(*command)
    assert again.returncode == 1
    assert "g.gallery exists; pass --force" in one_line(again.stderr)
    done = cli(*command, "--force", "--per-class", "1", "--validation", "new")
    assert "3 entries of 3 photos" in done.stdout
    assert "of 3 unseen (validation photos)" in done.stdout


def test_eval_and_show(cli: Cli, colour_lens: Path, gallery: Path, paint: PaintPhotos) -> None:  # noqa: F811
    paint("queries", seed=2, red=RED, blue=BLUE)
    paint("others", seed=3, yellow=YELLOW)
    command = ("gallery", "eval", gallery, "--bundle", colour_lens, "--data", "queries", "--unseen", "others")
    found = json.loads(cli(*command, "--json").stdout)
    assert (found["known"], found["unseen"]) == (6, 3)
    assert (found["recall_at_1"], found["map"], found["auroc"]) == (1, 1, 1)
    assert (found["accepted_recall_at_1"], found["false_accept_rate"]) == (1, 0)
    shown = cli(*command).stdout
    assert "recall@1  100.0%  (68.9% to 100.0%)" in shown
    assert "recall@1 at 5% false accepts" in shown
    shown = cli("gallery", "show", gallery)
    assert "shelf  products, 3 entries, 3 vectors of 3" in shown.stdout
    assert [entry["id"] for entry in json.loads(cli("gallery", "show", gallery, "--json").stdout)["entries"]] == [
        *("blue", "green", "red")
    ]


def test_add_and_remove(cli: Cli, colour_lens: Path, gallery: Path) -> None:  # noqa: F811
    done = cli("gallery", "add", gallery, "new", "--bundle", colour_lens, "--out", "more.gallery", "--json")
    found = json.loads(done.stdout)
    assert {entry["id"]: entry["vectors"] for entry in found["entries"]} == {
        "blue": 1,
        "green": 1,
        "red": 2,
        "yellow": 1,
    }
    assert found["false_accept_rate"] is None
    done = cli("gallery", "add", gallery, "new", "--bundle", colour_lens, "--validation", "shelf")
    assert "of 9 unseen (validation photos)" in done.stdout
    done = cli("gallery", "remove", gallery, "red", "yellow")
    assert "2 entries, 2 vectors" in done.stdout
    assert "what they let through now is unknown" in done.stdout
    before = gallery.read_bytes()
    done = cli("gallery", "remove", gallery, "gren")
    assert done.returncode == 2
    assert "Did you mean 'green'" in one_line(done.stderr)
    assert cli("gallery", "remove", gallery, "green", "blue").returncode == 2
    assert gallery.read_bytes() == before


def test_recognize_answers_from_a_gallery(cli: Cli, colour_lens: Path, gallery: Path) -> None:  # noqa: F811
    done = cli("recognize", colour_lens, "new/red/0.png", "new/yellow/0.png", "--gallery", gallery, "--top-k", "2")
    red, yellow = done.stdout.splitlines()
    assert red.startswith("0.png: red ")
    assert yellow.startswith("0.png: unknown, perhaps ")
    done = cli("recognize", colour_lens, "new/red/0.png", "--gallery", gallery, "--json")
    (image,) = json.loads(done.stdout)["images"]
    assert not image["unknown"]
    assert len(image["matches"]) == 3
    assert (image["matches"][0]["id"], image["matches"][0]["accepted"]) == ("red", True)


def test_another_bundle_is_refused(
    cli: Cli,
    colour_lens: Path,  # noqa: F811
    gallery: Path,
    pack,  # noqa: F811
) -> None:
    other = pack(force=True).rename(gallery.with_name("other.lens"))
    for command in (
        ("recognize", other, "new/red/0.png", "--gallery", gallery),
        ("gallery", "eval", gallery, "--bundle", other, "--data", "new"),
        ("gallery", "add", gallery, "new", "--bundle", other),
    ):
        done = cli(*command)
        assert done.returncode == 1
        assert "belongs to the bundle 'colours'" in one_line(done.stderr)
    done = cli("gallery", "build", "new", "--bundle", other, "--out", "x.gallery")
    assert "has no embedding" in one_line(done.stderr)


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("build", "gone", "--bundle", "colours.lens", "--out", "x.gallery"), 1, "does not exist"),
        (("build", "empty", "--bundle", "colours.lens", "--out", "x.gallery"), 1, "expected images"),
        (("build", "shelf/red", "--bundle", "colours.lens", "--out", "x.gallery"), 1, "one folder of photos"),
        (("build", "shelf", "--bundle", "colours.lens", "--out", "x.gallery", "--kind", "cars"), 2, "landmarks"),
        (("build", "shelf", "--bundle", "colours.lens", "--out", "x.gallery", "--false-accept-rate", "5"), 2, "0.05"),
        (("build", "shelf", "--bundle", "colours.lens", "--out", "no/x.gallery"), 1, "cannot write"),
        (("build", "shelf", "--bundle", "gone.lens", "--out", "x.gallery"), 1, "gone.lens"),
        (("build", "shelf", "--bundle", "colours.lens", "--out", "x.gallery", "--graph", "broken"), 0, ""),
        (("show", "gone.gallery"), 1, "does not exist"),
        (("show", "cut.gallery"), 1, "copy or build the gallery again"),
        (("show", "newer.gallery"), 1, "newer pocketlens"),
        (("eval", "cut.gallery", "--bundle", "colours.lens", "--data", "shelf"), 1, "cut.gallery"),
        (("remove", "cut.gallery", "red"), 1, "cut.gallery"),
    ],
)
def test_wrong_input_gets_one_line(
    arguments: tuple[str, ...],
    code: int,
    word: str,
    cli: Cli,
    colour_lens: Path,  # noqa: F811
    shelf: Path,
) -> None:
    root = shelf.parent
    (root / "empty").mkdir()
    (root / "cut.gallery").write_bytes(b"PK\x03\x04 no gallery")
    with zipfile.ZipFile(root / "newer.gallery", "w") as archive:
        archive.writestr("gallery.json", '{"schema_version": 2}')
        archive.writestr("vectors.bin", b"")
    done = cli("gallery", *arguments)
    assert done.returncode == code, done.stderr
    if code:
        assert word in one_line(done.stderr)
        assert not (root / "x.gallery").exists()


def test_a_single_thing_says_that_it_guesses(cli: Cli, colour_lens: Path, paint: PaintPhotos) -> None:  # noqa: F811
    done = cli("gallery", "build", paint("one", red=RED), "--bundle", colour_lens, "--out", "one.gallery")
    assert "false accepts could not be measured: threshold 0.5 is a guess" in done.stdout
    assert json.loads(cli("gallery", "show", "one.gallery", "--json").stdout)["false_accept_rate"] is None
