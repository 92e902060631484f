"""Run a program's ATen operators one by one, and compare the imported graph with them."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from pocketlens.errors import ModelError, UnsupportedModelError
from pocketlens.models.canonical import TOLERANCE
from pocketlens.models.pt2.archive import Program
from pocketlens.models.pt2.arguments import decode, outputs
from pocketlens.models.pt2.folding import SIZES


def verify(graph: fx.GraphModule, program: Program, shape: tuple[int, int, int], path: Path) -> None:
    """Give both the same random images. Only operators that the import has found in its tables are run.

    Raises: ModelError when the program cannot run; UnsupportedModelError when the outputs differ, for example because
        a view is changed in place.
    """
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    batches = [x] if program.shape[0] is None else [x[:1], x[1:]]
    try:
        with torch.inference_mode():
            wanted, got = torch.cat([replay(program, batch) for batch in batches]), graph(x)
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ModelError(f"{path} cannot be run: {reason}; export it again") from error
    if wanted.shape != got.shape:
        raise UnsupportedModelError(f"the import of {path} gives {tuple(got.shape)}, the program {tuple(wanted.shape)}")
    error, largest = float((wanted - got).abs().max()), float(wanted.abs().max())
    if not error <= TOLERANCE * (largest + 1e-6):
        raise UnsupportedModelError(
            f"the import of {path} differs from the program by {error:.1e}, its largest output is {largest:.1e}; "
            "it may change a tensor in place while a view of it is in use: give the PyTorch model"
        )


def replay(program: Program, x: Tensor) -> Tensor:
    """The program's output for images (n, c, h, w)."""
    values: dict[str, Any] = {name: torch.from_numpy(array) for name, array in program.weights.items()}
    values[program.input] = x.clone()
    for node in program.nodes:
        target = str(node["target"]).removeprefix("torch.ops.")
        names = outputs(node)
        if not any(names):
            continue
        arguments = {entry["name"]: decode(entry["arg"], values.__getitem__) for entry in node["inputs"]}
        if target in SIZES:
            result = SIZES[target](*arguments.values())
        else:
            _, packet, overload = target.split(".")
            kept = {k: v for k, v in arguments.items() if k not in ("device", "layout", "memory_format", "pin_memory")}
            result = getattr(getattr(torch.ops.aten, packet), overload)(**kept)
        results = result if isinstance(result, list | tuple) else [result]
        values |= dict(zip(names, results, strict=False))
    return values[program.output]
