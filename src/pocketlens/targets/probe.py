"""What this machine is: processor, cores, caches, memory and the instructions that matter. Free of torch."""

import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

INSTRUCTIONS = {
    "avx2": "avx2", "fma": "fma", "avx512f": "avx512f", "avx512_vnni": "avx512_vnni", "avx_vnni": "avx_vnni",
    "avx512_bf16": "avx512_bf16", "amx_int8": "amx_int8", "asimd": "neon", "neon": "neon",
    "asimddp": "neon_dotprod", "i8mm": "neon_i8mm", "asimdhp": "neon_fp16", "sve": "sve",
}  # fmt: skip
"""The kernel's flag -> our name, for those that decide how fast inference is."""

APPLE = {
    "hw.optional.neon": "neon",
    "hw.optional.arm.FEAT_DotProd": "neon_dotprod",
    "hw.optional.arm.FEAT_I8MM": "neon_i8mm",
    "hw.optional.arm.FEAT_FP16": "neon_fp16",
    "hw.optional.avx2_0": "avx2",
    "hw.optional.fma": "fma",
    "hw.optional.avx512f": "avx512f",
    "hw.optional.avx512vnni": "avx512_vnni",
}


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """A machine as it describes itself.

    Args:
        system: for example "Linux x86_64".
        cpu: the processor's own name.
        cores: physical ones this process may use, at least 1.
        threads: logical ones this process may use.
        memory_bytes: physical memory, or the container's limit where that is lower.
        caches_bytes: level -> bytes of one instance.
        instructions: names of INSTRUCTIONS, in their order.
    """

    system: str
    cpu: str
    cores: int
    threads: int
    memory_bytes: int
    caches_bytes: dict[str, int] = field(default_factory=dict)
    instructions: tuple[str, ...] = ()


def hardware() -> Hardware:
    """Describe the machine this runs on."""
    import psutil

    system = f"{platform.system()} {platform.machine()}"
    threads = usable_threads()
    cores = min(threads, _linux_cores() or psutil.cpu_count(logical=False) or threads)
    memory = psutil.virtual_memory().total
    if sys.platform == "linux":
        text = _read("/proc/cpuinfo")
        name, instructions = parse_cpuinfo(text)
        caches = _linux_caches()
    elif sys.platform == "darwin":
        name, instructions, caches = parse_sysctl(_sysctl())
    else:
        name, instructions, caches = platform.processor(), (), {}
    return Hardware(
        system=system,
        cpu=name or platform.processor() or platform.machine(),
        cores=max(1, cores),
        threads=threads,
        memory_bytes=min(memory, _memory_limit() or memory),
        caches_bytes=caches,
        instructions=instructions,
    )


def usable_threads() -> int:
    """Logical processors that affinity and the container's quota leave to this process."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = parse_cpu_max(_read("/sys/fs/cgroup/cpu.max"))
    return max(1, min(count, quota) if quota else count)


def parse_cpu_max(text: str) -> int | None:
    """Cgroup v2's "QUOTA PERIOD" as whole processors, rounded up; None for "max"."""
    parts = text.split()
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        return None
    return -(-int(parts[0]) // int(parts[1]))


def parse_cpuinfo(text: str) -> tuple[str, tuple[str, ...]]:
    """(processor's name, instructions) from /proc/cpuinfo of x86 or Arm."""
    name = ""
    for key in ("model name", "Model", "Hardware", "Processor"):
        found = re.search(rf"^{key}\s*:\s*(.+)$", text, re.MULTILINE)
        if found:
            name = found.group(1).strip()
            break
    flags: set[str] = set()
    for match in re.finditer(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE):
        flags.update(match.group(1).split())
    return name, _ordered({ours for flag, ours in INSTRUCTIONS.items() if flag in flags})


def parse_sysctl(text: str) -> tuple[str, tuple[str, ...], dict[str, int]]:
    """(name, instructions, caches) from `sysctl -a` on macOS."""
    values = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    instructions = {ours for key, ours in APPLE.items() if values.get(key) == "1"}
    caches = {
        level: int(values[key])
        for level, key in (("L1d", "hw.l1dcachesize"), ("L2", "hw.l2cachesize"), ("L3", "hw.l3cachesize"))
        if values.get(key, "0").isdigit() and int(values.get(key, "0"))
    }
    return values.get("machdep.cpu.brand_string", ""), _ordered(instructions), caches


def parse_size(text: str) -> int:
    """Bytes from words like 48K; 0 for anything else."""
    found = re.fullmatch(r"(\d+)([KMG]?)", text.strip())
    if not found:
        return 0
    return int(found.group(1)) << {"": 0, "K": 10, "M": 20, "G": 30}[found.group(2)]


def peak_memory_bytes() -> int:
    """The largest resident size that this process has had."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", _read("/proc/self/status"), re.MULTILINE)
    if found:
        return int(found.group(1)) * 1024
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _ordered(names: set[str]) -> tuple[str, ...]:
    return tuple(name for name in dict.fromkeys(INSTRUCTIONS.values()) if name in names)


def _linux_cores() -> int:
    """Physical cores that affinity leaves to this process; 0 where the kernel does not say."""
    if not hasattr(os, "sched_getaffinity"):
        return 0
    topology = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    return len({_read(topology.format(number)) for number in os.sched_getaffinity(0)} - {""})


def _linux_caches() -> dict[str, int]:
    caches = {}
    for place in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind = _read(place / "level").strip(), _read(place / "type").strip()
        size = parse_size(_read(place / "size"))
        if size and kind != "Instruction":
            caches[f"L{level}{'d' if kind == 'Data' else ''}"] = size
    return caches


def _memory_limit() -> int | None:
    text = _read("/sys/fs/cgroup/memory.max").strip()
    return int(text) if text.isdigit() else None


def _sysctl() -> str:
    try:
        return subprocess.run(["sysctl", "-a"], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""
