"""What reading a bundle costs in memory, in a process of its own: the kernel's count, zstd's buffers included."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.bundle.large import SIZE, write_large

MEASURE = """
import sys, tempfile
from pathlib import Path
from pocketlens.bundle.archive import open_bundle
from pocketlens.bundle.unpack import unpack

def memory(field):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(field))

def read(path):
    with open_bundle(path) as bundle:
        return len(bundle.graph("float").weights)

def write(path):
    with open_bundle(path) as bundle, tempfile.TemporaryDirectory() as folder:
        return unpack(bundle, Path(folder), "float").weights.stat().st_size

how = {"read": read, "unpack": write}[sys.argv[1]]
how(Path(sys.argv[2]))  # a small one, so that what is imported late counts before
before = memory("VmRSS")
print(how(Path(sys.argv[3])), memory("VmHWM") - before)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_large(tmp_path_factory.mktemp("large"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's count of a process's memory")
@pytest.mark.parametrize(("how", "most"), [("read", 1.15), ("unpack", 0.15)])
def test_memory_is_the_blob_and_little_more(large: Path, every_kind_lens: Path, how: str, most: float) -> None:
    command = [sys.executable, "-c", MEASURE, how, every_kind_lens, large]
    size, grown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert int(size) == SIZE
    assert int(grown) < most * SIZE, f"{int(grown) / SIZE:.2f} of the blob"
