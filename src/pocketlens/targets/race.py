"""Time artifacts against one another: A B C, B C A ..., each in a fresh process that sleeps while others run."""

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO, Any

from pocketlens.errors import TargetError
from pocketlens.types import Artifact, RacePlan, Timing


def race(artifacts: Sequence[Artifact], plan: RacePlan) -> tuple[Timing, ...]:
    """Time every artifact.

    Two sessions in one process slow each other while their threads spin, hence one process each; every round starts
    with another artifact, so that none always follows the same one.

    Args:
        artifacts: with different names, of one runtime or of several.
        plan: see RacePlan.
    Returns: one Timing an artifact, in order; turns pair up by index.
    Raises: TargetError when an artifact cannot be opened or run.
    """
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(_Worker(artifact, plan)) for artifact in artifacts]
        loads = [worker.ready() for worker in workers]
        turns: list[list[float]] = [[] for _ in workers]
        for place in range(plan.rounds):
            for offset in range(len(workers)):
                index = (place + offset) % len(workers)
                turns[index].append(workers[index].turn(plan.runs))
        peaks = [worker.end() for worker in workers]
    return tuple(
        Timing(artifact=a.name, turns_ms=tuple(t), load_ms=load, peak_memory_bytes=peak)
        for a, t, load, peak in zip(artifacts, turns, loads, peaks, strict=True)
    )


class _Worker:
    """One process; whatever happens, it is ended and waited for."""

    def __init__(self, artifact: Artifact, plan: RacePlan) -> None:
        self._name = artifact.name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 closed with the worker
        task = {
            "target": artifact.target,
            "graph": str(artifact.graph),
            "weights": str(artifact.weights) if artifact.weights else None,
            "session": dict(artifact.session),
            "threads": plan.threads,
            "shape": [plan.batch, *artifact.spec.input_shape],
            "warmup": plan.warmup,
        }
        self._process = subprocess.Popen(
            # -P: a file of the user's working folder must not stand in for a module of ours.
            [sys.executable, "-P", "-m", "pocketlens.targets.worker", json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def ready(self) -> float:
        """Wait until it is loaded and warm; milliseconds that loading took."""
        return float(self._read()["load_ms"])

    def turn(self, runs: int) -> float:
        """Let it run; the median, ms."""
        self._write({"turn": runs})
        return statistics.median(self._read()["ms"])

    def end(self) -> int:
        """Let it end; its peak resident bytes."""
        self._write({"end": True})
        return int(self._read()["peak_memory_bytes"])

    def _write(self, message: dict[str, Any]) -> None:
        pipe: IO[str] | None = self._process.stdin
        assert pipe is not None
        try:
            pipe.write(json.dumps(message) + "\n")
            pipe.flush()
        except BrokenPipeError:
            raise self._failed() from None

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._failed()
        return json.loads(line)

    def _failed(self) -> TargetError:
        code = self._process.wait()
        self._errors.seek(0)
        lines = [text for text in self._errors.read().decode("utf-8", "replace").splitlines() if text.strip()]
        reason = lines[-1] if lines else f"its process ended with {code}"
        return TargetError(f"timing {self._name} failed: {reason.removeprefix('pocketlens.errors.TargetError: ')}")
