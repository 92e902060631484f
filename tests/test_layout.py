"""The import rule of docs/architecture.md: imports go down only, and the base install needs no torch."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "pocketlens"

LAYERS = (
    ("errors", "lazy"),
    ("types",),
    ("ops", "scheme_json", "whole_file"),
    ("datasets", "tasks"),
    ("bundle",),
    ("models",),
    ("targets", "training"),
    ("measure", "runtime", "report", "passes"),
    ("stages", "verdict"),
    ("recipe",),
    ("search",),
    ("squeeze",),
    ("server",),
    ("cli",),
    ("__main__",),
)
"""Lowest first. A module may import its own part and any lower one."""

RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}

TORCH_FREE = ("bundle", "runtime", "datasets", "tasks", "report", "measure", "verdict", "types", "errors", "server")


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Dotted names that a module imports, those for type checkers left out."""
    tree = ast.parse(path.read_text("utf-8"))
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if top_level_only and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                found.add(child.module)
                found.update(f"{child.module}.{alias.name}" for alias in child.names)
            visit(child)

    visit(tree)
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_down_only(path: Path) -> None:
    own = part_of(path)
    if own == "__init__":
        return
    assert own in RANK, f"{own} has no place in the layers; add it to LAYERS and to docs/architecture.md"
    for name in imported(path):
        if not name.startswith("pocketlens."):
            continue
        other = name.split(".")[1]
        if other in RANK and other != own:
            assert RANK[other] < RANK[own], f"{own} may not import {other} ({path.name})"


@pytest.mark.parametrize("path", [p for p in modules() if part_of(p) == "passes"], ids=lambda p: p.name)
def test_no_pass_imports_a_pass_or_a_target(path: Path) -> None:
    for name in imported(path):
        assert not name.startswith("pocketlens.targets")
        assert not (name.startswith("pocketlens.passes.") and path.name != "__init__.py")


@pytest.mark.parametrize(
    "path",
    [p for p in modules() if part_of(p) in TORCH_FREE or p.name in ("session.py", "worker.py", "probe.py")],
    ids=lambda p: str(p.relative_to(SOURCE)),
)
def test_the_base_install_is_free_of_torch(path: Path) -> None:
    heavy = {"torch", "torchvision", "timm", "onnx", "onnxscript", "scipy", "sklearn", "skimage"}
    assert not {name.split(".")[0] for name in imported(path, top_level_only=True)} & heavy


def test_files_stay_small() -> None:
    for path in modules():
        lines = len(path.read_text("utf-8").splitlines())
        assert lines <= 400, f"{path.relative_to(SOURCE)} has {lines} lines"


def test_the_public_package_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = "import sys, pocketlens; sys.exit(bool({'torch', 'numpy', 'onnxruntime'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
