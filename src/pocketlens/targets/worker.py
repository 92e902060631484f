"""A fresh process that only loads and runs one artifact, a turn at a time. Free of torch.

It is told what to open by one JSON argument. It prints a JSON line when it is ready, then one for each line on its
standard input: {"turn": runs} answers {"ms": [...]}, {"end": true} answers {"peak_memory_bytes": ...} and ends.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from pocketlens.targets import load_session
from pocketlens.targets.probe import peak_memory_bytes

PAUSE_S = 0.004
"""How long a process must be idle to count as asleep; a coarser clock (Windows: 16 ms) makes it count too soon."""

LONGEST_SPIN_S = 0.5
"""After this a process counts as asleep anyhow."""


def main() -> None:
    """Serve turns until told to end."""
    task = json.loads(sys.argv[1])
    weights = Path(task["weights"]) if task["weights"] else None
    open_session = load_session(task["target"])
    start = time.perf_counter()
    session = open_session(Path(task["graph"]), weights, task["session"], task["threads"])
    load_ms = (time.perf_counter() - start) * 1e3
    images = np.random.default_rng(0).standard_normal(task["shape"], np.float32)
    for _ in range(task["warmup"]):
        session.run(images)
    _fall_asleep()
    _say({"load_ms": load_ms})
    for line in sys.stdin:
        order = json.loads(line)
        if order.get("end"):
            break
        times = []
        for _ in range(order["turn"]):
            before = time.perf_counter()
            session.run(images)
            times.append((time.perf_counter() - before) * 1e3)
        _fall_asleep()
        _say({"ms": times})
    _say({"peak_memory_bytes": peak_memory_bytes()})


def _fall_asleep() -> None:
    """Return when this process uses no processor any more.

    ONNX Runtime 1.32's threads spin on for about 15 ms after a run. On 2 cores that made the next artifact's turn at
    2 threads 2.3 times slower (EfficientNet-Lite0: 7.1 instead of 3.1 ms).
    """
    give_up = time.perf_counter() + LONGEST_SPIN_S
    while time.perf_counter() < give_up:
        before = time.process_time()
        time.sleep(PAUSE_S)
        if time.process_time() - before < PAUSE_S / 10:
            return


def _say(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
