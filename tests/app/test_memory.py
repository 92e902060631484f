"""What the app's decoder takes in memory."""

from pathlib import Path

from tests.app.jobs import RunJobs
from tests.bundle.large import SIZE, large_stream

WASM = 4 * 2**20
"""More than zstd's WebAssembly touches of its own memory: a window of a record, and its tables."""


def test_memory_is_the_blob_and_little_more(tmp_path: Path, run_jobs: RunJobs) -> None:
    (tmp_path / "weights.plt").write_bytes(large_stream())
    (result,) = run_jobs(tmp_path, [{"task": "memory", "records": "weights.plt", "size": SIZE}])
    assert SIZE < result["ok"] < 1.15 * SIZE - WASM
