"""Render a report as one HTML file that opens offline, and write it whole or not at all."""

import base64
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from pocketlens.errors import OutputError
from pocketlens.report import figures, headline, plots, tables, tuning
from pocketlens.report.data import ReportData
from pocketlens.report.precision import precision_plots
from pocketlens.report.sensitivity import sensitivity_plot
from pocketlens.report.steps import parts
from pocketlens.report.waterfall import waterfall
from pocketlens.whole_file import whole_file

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE = Path(__file__).parent

_FILTERS = (
    figures.megabytes,
    figures.binary_bytes,
    figures.milliseconds,
    figures.duration,
    figures.percent,
    figures.points,
    figures.decibels,
    figures.scientific,
    figures.count,
    figures.speed,
    figures.ratio_range,
    figures.prose,
    figures.words,
    figures.value,
)
"""Each is a filter of the template by its own name."""


def render(data: ReportData) -> str:
    """The whole report as HTML; it refers to nothing outside itself.

    Args:
        data: see ReportData. Its strings may be hostile: all are escaped, and the content-security policy names the
            hashes of the one style and the one script that may act.
    """
    from markupsafe import Markup

    style = (_HERE / "style.css").read_text("utf-8")
    script = (_HERE / "script.js").read_text("utf-8")
    return (
        _environment()
        .get_template("template.html")
        .render(
            data=data,
            style=Markup(style),
            script=Markup(script),
            policy=_policy(style, script),
            headlines=headline.headlines(data),
            sentence=headline.sentence(data),
            measured=tables.measured(data),
            size_bars={f: tables.size_bars(data, f) for f in ("size_bytes", "disk_bytes", "peak_memory_bytes")},
            waterfalls=(("wide", waterfall(data, 960)), ("narrow", waterfall(data, 360))),
            parts=parts(data),
            latency_rows=tables.latency_rows(data),
            layer_times=tables.layer_times(data),
            splits=tables.splits(data),
            skipped=tables.skipped(data),
            fidelity_steps=plots.FIDELITY_STEPS,
            # SVG text scales with its picture: a phone gets a picture of its own, so that labels stay legible.
            paretos=(("wide", plots.pareto(data, 960, 400)), ("narrow", plots.pareto(data, 360, 340))),
            widths=tuple(zip(tuning.width_plots(data, 960, 240), tuning.width_plots(data, 360, 220), strict=True)),
            lessons=tuple(zip(tuning.lesson_plots(data, 960, 280), tuning.lesson_plots(data, 360, 260), strict=True)),
            precisions=tuple(zip(precision_plots(data, 960, 300), precision_plots(data, 360, 280), strict=True)),
            harms=tuple((look, sensitivity_plot(data, width)) for look, width in (("wide", 960), ("narrow", 360))),
            errors=(("wide", plots.layer_errors(data, 960, 280)), ("narrow", plots.layer_errors(data, 360, 260))),
        )
    )


def write(data: ReportData, path: Path, force: bool = False) -> None:
    """Render into `path`: first under a temporary name, so that nobody meets half a report.

    Args:
        data: see ReportData.
        path: of the HTML file; its folder must exist.
        force: write over an existing file.
    Raises: OutputError when it exists and `force` is not set, or cannot be written.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder; choose the name of a file in it")
    if path.exists() and not force:
        raise OutputError(f"{path} exists; pass --force to write over it, or choose another name")
    text = render(data)
    with whole_file(path) as part:
        part.write_text(text, "utf-8")


def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,  # a misspelt field is an error, not an empty cell
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({function.__name__: function for function in _FILTERS})
    environment.filters["data_uri"] = _data_uri
    return environment


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(sha256(text.encode('utf-8')).digest()).decode('ascii')}"
