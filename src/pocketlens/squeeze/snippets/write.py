"""Fill the snippets of an exported file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from string import Template

from pocketlens.squeeze.snippets.running import PACKAGES, RUN
from pocketlens.types import Artifact

Grid = tuple[float, int] | None

SUFFIXES = {"python": ".py", "kotlin": ".kt", "swift": ".swift", "javascript": ".mjs"}
"""Language -> suffix of its snippet."""

_SUPPORT = {"nearest": 0.0, "bilinear": 1.0, "bicubic": 2.0}

_CUBIC = ("(1.5 * x - 2.5) * x * x + 1", "(((x - 5) * x + 8) * x - 4) * -0.5")
"""Keys's cubic with a = -0.5, nearer than 1 and nearer than 2."""

_WEIGHT = {
    "python": {"nearest": "", "bilinear": "", "bicubic": ""},  # Pillow's own
    "javascript": {
        "nearest": "return 1;",
        "bilinear": "return Math.max(0, 1 - x);",
        "bicubic": f"if (x < 1) return {_CUBIC[0]};\n  return x < 2 ? {_CUBIC[1]} : 0;",
    },
    "kotlin": {
        "nearest": "return 1.0",
        "bilinear": "return max(0.0, 1 - x)",
        "bicubic": f"return if (x < 1) {_CUBIC[0]} else if (x < 2) {_CUBIC[1]} else 0.0",
    },
    "swift": {
        "nearest": "return x < 1 ? 1 : 0",
        "bilinear": "return max(0, 1 - x)",
        "bicubic": f"if x < 1 {{ return {_CUBIC[0]} }}\n        return x < 2 ? {_CUBIC[1]} : 0",
    },
}


@dataclass(frozen=True, kw_only=True)
class Feed:
    """What an exported file takes and gives.

    Args:
        input_grid: (scale, zero point) where it takes int8.
        output_grid: the same of the logits.
        channels_last: whether channels come after height and width.
    """

    input_grid: Grid = None
    output_grid: Grid = None
    channels_last: bool = False


@dataclass(frozen=True)
class _Spelling:
    """How a language writes values: nothing, lists of texts and of floats, and a pair; `{}` is the content."""

    nothing: str
    texts: str
    floats: str
    pair: str
    suffix: str = ""

    def many(self, values: Sequence[float]) -> str:
        return self.floats.format(", ".join(f"{value!r}{self.suffix}" for value in values))

    def grid(self, grid: Grid) -> str:
        return self.nothing if grid is None else self.pair.format(f"{grid[0]!r}{self.suffix}, {grid[1]}")


_SPELLINGS = {
    "python": _Spelling("None", "[{}]", "({})", "({})"),
    "javascript": _Spelling("null", "[{}]", "[{}]", "[{}]"),
    "kotlin": _Spelling("null", "listOf({})", "floatArrayOf({})", "Pair({})", "f"),
    "swift": _Spelling("nil", "[{}]", "[{}]", "({})"),
}


def snippet(language: str, file: str, artifact: Artifact, feed: Feed) -> str:
    """The source file that turns a picture into the input of `file` and reads its answer.

    Args:
        language: a key of SUFFIXES.
        file: the exported file's name.
        artifact: what was exported.
        feed: see Feed.
    """
    p = artifact.spec.preprocessing
    spelling = _SPELLINGS[language]
    height, width = p.crop
    labels = ", ".join(_text(language, label) for label in artifact.spec.labels or artifact.spec.class_ids)
    python = language == "python"
    values = {
        "file": file,
        "height": height,
        "width": width,
        "package": PACKAGES[artifact.target][language],
        "labels": spelling.texts.format(labels),
        "resize": spelling.nothing if p.resize is None else p.resize,
        "crop": p.crop if python else list(p.crop),
        "mean": spelling.many(p.mean),
        "std": spelling.many(p.std),
        "input_grid": spelling.grid(feed.input_grid),
        "output_grid": spelling.grid(feed.output_grid),
        "channels_last": "true" if feed.channels_last else "false",
        "layout": "np.ascontiguousarray(x)" if feed.channels_last else "np.ascontiguousarray(x.transpose(2, 0, 1))",
        "filter": p.interpolation.upper(),
        "support": _SUPPORT[p.interpolation],
        "weight": _WEIGHT[language][p.interpolation],
    }
    dequantized = "disable_quant_qdq" in "".join(artifact.session)
    run = Template(RUN[artifact.target][language]).substitute(values, dequantized="1" if dequantized else "0")
    text = resources.files("pocketlens.squeeze.snippets").joinpath(f"{language}.txt").read_text("utf-8")
    return Template(text).substitute(values, run=run.strip("\n"))


def _text(language: str, text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return quoted.replace("$", r"\$") if language == "kotlin" else quoted
