import base64
import re
import shutil
import subprocess
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pocketlens.errors import OutputError
from pocketlens.report import ReportData, render, write
from pocketlens.types import Interval, Json, Record, Spread, Verdict

from .conftest import Stage, measurement, photos

HOSTILE = "<script>alert('x')</script>\"' onload=evil() & {{ 7 * 7 }}"


class Page(HTMLParser):
    """Tags with their attributes, text, and what style and script hold."""

    VOID = frozenset({"meta", "img", "br", "hr", "link", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.code: dict[str, str] = {"style": "", "script": ""}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        inside = self.open[-1] if self.open else ""
        if inside in self.code:
            self.code[inside] += data
        else:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    def attributes(self, name: str) -> list[str]:
        return [value for _, found in self.tags if (value := found.get(name)) is not None]

    @property
    def policy(self) -> str:
        return next(a["content"] or "" for t, a in self.tags if a.get("http-equiv") == "Content-Security-Policy")


def check_sound(html: str) -> Page:
    """What must hold of every report: closed tags, unique ids, links that lead somewhere, nothing from outside."""
    page = Page(html)
    assert page.open == []
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert {"#" + i for i in ids} >= set(page.attributes("href"))
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.attributes("src"))
    for outside in ("url(", "@import", "fetch(", "XMLHttpRequest", "import(", "WebSocket"):
        assert outside not in page.code["style"] + page.code["script"]
    assert not {tag for tag, _ in page.tags} & {"link", "iframe", "object", "embed", "base", "form"}
    assert not page.attributes("style")
    assert not any(name.startswith("on") for _, found in page.tags for name in found)
    assert not re.search(r"\b(nan|None|inf)\b", page.words)
    return page


def test_a_full_report(lite0: ReportData, tmp_path: Path) -> None:
    write(lite0, tmp_path / "lite0.html", force=False)
    page = check_sound((tmp_path / "lite0.html").read_text("utf-8"))
    for said in (
        "3.9× smaller",
        "18.6 MB → 4.79 MB",
        "11.7 ms → 11.7 ms",
        "paired 90% interval −0.2 to +0.4 pt; 1,300 images",
        "This device should run the float graph",
        "1.07× slower",
        "no difference in latency (0.99 to 1.01×)",
        "3. MatchMoments",
        "Intel Xeon E5-2673 v4",
        "onnxruntime 1.32.0",
        "products saturate in 16 bits",
        "2 images could not be read",
        "n01443537/empty.jpg",
        'use = "QuantizeStatic"',
        "1 min 47 s",
    ):
        assert said in page.words


def test_twelve_photos_stay_under_a_megabyte(lite0: ReportData) -> None:
    assert len(render(replace(lite0, photos=photos(12))).encode()) < 1e6


def test_the_policy_allows_our_style_and_script_and_nothing_else(lite0: ReportData) -> None:
    page = Page(render(lite0))
    assert page.policy.startswith("default-src 'none'; img-src data:; ")
    for kind in ("style", "script"):
        digest = base64.b64encode(sha256(page.code[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in page.policy


def test_every_outcome_has_a_word_and_an_icon(lite0: ReportData) -> None:
    worse = replace(lite0.verdicts[0], outcome="did not pay")
    html = render(replace(lite0, verdicts=(worse, lite0.verdicts[1])))
    for outcome in ("paid", "did not pay", "no difference"):
        assert re.search(rf'class="badge[^"]*"><svg[^>]*>\s*<path [^>]+/></svg>{outcome}</span>', html)


def test_changed_answers_are_marked(lite0: ReportData) -> None:
    assert render(lite0).count('class="photo changed"') == 1


def test_without_labels_it_is_agreement_and_called_so(unlabelled: ReportData) -> None:
    page = check_sound(render(unlabelled))
    assert "99.3% same answer" in page.words
    assert "agreement with the original, not accuracy" in page.words
    assert "Accuracy" not in page.words
    assert "Photos" not in page.words
    assert "not measured" in page.words


def test_hostile_text_stays_text(lite0: ReportData) -> None:
    answers: tuple[Json, ...] = ({"label": HOSTILE, "probability": 0.5},) * 2
    photo = replace(lite0.photos[0], key=HOSTILE, truth=HOSTILE, before=answers, after=answers)
    stage = lite0.stages[1]
    assert stage.measurement is not None
    data = replace(
        lite0,
        title=HOSTILE,
        command=HOSTILE,
        created=HOSTILE,
        version=HOSTILE,
        spec=replace(lite0.spec, task=HOSTILE),
        profile=replace(
            lite0.profile, cpu=HOSTILE, instructions=(HOSTILE,), probe={HOSTILE: {"reason": HOSTILE}}, runtime=HOSTILE
        ),
        stages=(
            Stage(
                record=Record(name=HOSTILE, config={}, summary={HOSTILE: HOSTILE}, notes=(HOSTILE,)),
                measurement=replace(stage.measurement, name=HOSTILE, conditions={"images": HOSTILE}),
                verdict=Verdict(
                    name=HOSTILE, outcome="paid", size=HOSTILE, latency=HOSTILE, fidelity=HOSTILE, sentence=HOSTILE
                ),
            ),
        ),
        layer_times={"fp32": ({"layer": HOSTILE, "operator": HOSTILE, "latency_ms": 1.0, "share": 1.0},)},
        layer_errors=({"layer": HOSTILE, "kind": HOSTILE, "sqnr_db": 3.0},),
        photos=(photo,),
        recipe=HOSTILE,
        data={HOSTILE: {"name": HOSTILE, "n": 1, "skipped": {HOSTILE: HOSTILE}}},
        seconds={HOSTILE: 1.0},
    )
    page = check_sound(render(data))
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert page.words.count("alert('x')") > 10
    assert "{{ 7 * 7 }}" in page.words


@pytest.mark.parametrize("missing", [None, float("nan"), float("inf"), "text"])
def test_missing_figures_say_so(lite0: ReportData, missing: object) -> None:
    figures = dict.fromkeys(lite0.result.fidelity, missing)
    nan = float("nan")
    broken = replace(
        lite0.result,
        fidelity={**figures, "top1_change_interval": [missing, missing], "agreement_interval": [missing, missing]},
        size_bytes=0,
        latency_ms={1: Spread(median=nan, p10=nan, p90=nan, n=0)},
        speedup={1: Interval(estimate=nan, low=nan, high=nan)},
        roofline={"compute_share": nan},
    )
    data = replace(
        lite0,
        graphs=(lite0.graphs[0], broken),
        layer_times={"fp32": ({"layer": "a", "operator": "Conv", "latency_ms": missing},)},
        layer_errors=({"layer": "a", "kind": "conv", "sqnr_db": missing},),
        seconds={"total": nan},
    )
    page = check_sound(render(data))
    assert page.words.count("not measured") >= 10


def test_nothing_was_timed(lite0: ReportData) -> None:
    graphs = tuple(replace(g, latency_ms={}, speedup={}) for g in lite0.graphs)
    page = check_sound(
        render(replace(lite0, baseline=replace(lite0.baseline, latency_ms={}), graphs=graphs, stages=()))
    )
    assert "Latency was not measured." in page.words


def test_files_for_a_device_elsewhere(lite0: ReportData) -> None:
    graphs = tuple(replace(g, latency_ms={}, speedup={}) for g in lite0.graphs)
    base = replace(lite0.baseline, latency_ms={}, speedup={})
    data = replace(lite0, baseline=base, graphs=graphs, layer_times={}, preferred="int8", made_for=HOSTILE)
    page = check_sound(render(data))
    assert "Speed was not measured on that device" in page.words
    assert "This device should run" not in page.words


def test_long_names_and_many_skipped_images(lite0: ReportData) -> None:
    long = "a_very_long_name_" * 20
    graphs = (lite0.graphs[0], replace(lite0.graphs[1], name=long))
    skipped = {f"class/{i}.jpg": "truncated" for i in range(1000)}
    data = replace(
        lite0,
        title=long,
        graphs=graphs,
        preferred=long,
        data={"test": {"name": long, "n": 2000, "labelled": False, "skipped": skipped}},
    )
    page = check_sound(render(data))
    assert "1,000 images could not be read" in page.words
    assert "class/999.jpg" in page.words


def test_a_stage_that_was_not_measured(lite0: ReportData) -> None:
    page = check_sound(render(replace(lite0, stages=(Stage(record=Record(name="CastHalf", config={})),))))
    assert "1. CastHalf" in page.words
    assert "not judged" in page.words


def test_one_graph_and_one_thread(lite0: ReportData) -> None:
    half = measurement("half", 9_310_000, {4: 11.7, 1: 30.0}, {4: (1.0, 0.98, 1.02)}, dict(lite0.result.fidelity))
    half = replace(half, latency_ms={4: half.latency_ms[4]})
    base = replace(lite0.baseline, latency_ms={4: lite0.baseline.latency_ms[1]}, speedup={})
    verdict = replace(lite0.verdict, name="half")
    data = replace(
        lite0, baseline=base, graphs=(half,), preferred="half", verdict=verdict, verdicts=(verdict,), stages=()
    )
    page = check_sound(render(data))
    assert "The half graph is 2.00× smaller than fp32 and as fast on this machine." in page.words


def test_an_existing_file_needs_force(lite0: ReportData, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("mine")
    with pytest.raises(OutputError, match="--force"):
        write(lite0, path, force=False)
    assert path.read_text() == "mine"
    write(lite0, path, force=True)
    assert path.read_text("utf-8").startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_does_not_exist(lite0: ReportData, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        write(lite0, tmp_path / "missing" / "report.html", force=False)
    with pytest.raises(OutputError, match="is a folder"):
        write(lite0, tmp_path, force=True)


def test_a_browser_runs_it_under_its_policy(lite0: ReportData, tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    write(lite0, tmp_path / "report.html", force=False)
    run = subprocess.run(
        [
            chromium,
            *["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"],
            *["--disable-background-networking", "--disable-component-update", "--dump-dom"],
            f"--user-data-dir={tmp_path / 'browser'}",
            (tmp_path / "report.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert 'data-ready="yes"' in run.stdout  # the script's last line: its hash is the policy's
    assert "aria-labelledby" not in run.stdout.split("<script>")[0].split("</style>")[1]
