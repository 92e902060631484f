import os
import subprocess
import sys

import pytest

from pocketlens.targets import probe
from pocketlens.targets.probe import hardware, parse_cpu_max, parse_cpuinfo, parse_size, parse_sysctl, peak_memory_bytes

# /proc/cpuinfo as captured, one processor of each; long lines are folded.

KABY_LAKE = """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 142
model name\t: Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz
stepping\t: 10
cache size\t: 8192 KB
siblings\t: 8
cpu cores\t: 4
flags\t\t: fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush dts acpi mmx fxsr sse \
sse2 ss ht tm pbe syscall nx pdpe1gb rdtscp lm constant_tsc art arch_perfmon pebs bts rep_good nopl \
xtopology nonstop_tsc cpuid aperfmperf pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 sdbg fma \
cx16 xtpr pdcm pcid sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave avx f16c rdrand \
lahf_lm abm 3dnowprefetch cpuid_fault epb invpcid_single pti ssbd ibrs ibpb stibp tpr_shadow vnmi \
flexpriority ept vpid ept_ad fsgsbase tsc_adjust bmi1 avx2 smep bmi2 erms invpcid mpx rdseed adx smap \
clflushopt intel_pt xsaveopt xsavec xgetbv1 xsaves dtherm ida arat pln pts hwp hwp_notify hwp_act_window \
hwp_epp md_clear flush_l1d
bugs\t\t: cpu_meltdown spectre_v1 spectre_v2 spec_store_bypass l1tf mds swapgs itlb_multihit srbds
"""

ZEN_5 = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 26
model\t\t: 2
model name\t: AMD EPYC
stepping\t: 1
cache size\t: 1024 KB
siblings\t: 2
cpu cores\t: 2
flags\t\t: fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 ht \
syscall nx mmxext fxsr_opt pdpe1gb rdtscp lm constant_tsc rep_good nopl xtopology nonstop_tsc cpuid \
extd_apicid tsc_known_freq pni pclmulqdq ssse3 fma cx16 pcid sse4_1 sse4_2 x2apic movbe popcnt \
tsc_deadline_timer aes xsave avx f16c rdrand hypervisor lahf_lm cmp_legacy cr8_legacy abm sse4a \
misalignsse 3dnowprefetch osvw topoext vmmcall fsgsbase tsc_adjust bmi1 avx2 smep bmi2 erms invpcid \
avx512f avx512dq adx smap avx512ifma clflushopt clwb avx512cd sha_ni avx512bw avx512vl xsaveopt xsavec \
xgetbv1 xsaves avx_vnni avx512_bf16 clzero xsaveerptr arat avx512vbmi umip avx512_vbmi2 gfni vaes \
vpclmulqdq avx512_vnni avx512_bitalg avx512_vpopcntdq rdpid fsrm avx512_vp2intersect
bugs\t\t: sysret_ss_attrs null_seg spectre_v1 spectre_v2 spec_store_bypass srso spectre_v2_user
"""

RASPBERRY_PI_4 = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

Hardware\t: BCM2835
Revision\t: c03111
Model\t\t: Raspberry Pi 4 Model B Rev 1.1
"""

RENESAS_A55 = """\
processor       : 0
BogoMIPS        : 48.00
Features        : fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer : 0x41
CPU architecture: 8
CPU variant     : 0x2
CPU part        : 0xd05
CPU revision    : 0
"""

# `sysctl -a` of a MacBook Air, the lines that the parser and its neighbours need.
APPLE_M1 = """\
hw.ncpu: 8
hw.byteorder: 1234
hw.memsize: 17179869184
hw.perflevel0.l1dcachesize: 131072
hw.perflevel0.l2cachesize: 12582912
hw.l1icachesize: 131072
hw.l1dcachesize: 65536
hw.l2cachesize: 4194304
hw.optional.arm.FEAT_FHM: 1
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_BF16: 0
hw.optional.arm.FEAT_I8MM: 0
hw.optional.arm.FEAT_FP16: 1
hw.optional.floatingpoint: 1
hw.optional.neon: 1
machdep.cpu.brand_string: Apple M1
"""


@pytest.mark.parametrize(
    ("text", "name", "instructions"),
    [
        (KABY_LAKE, "Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz", ("avx2", "fma")),
        (ZEN_5, "AMD EPYC", ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16")),
        (RASPBERRY_PI_4, "Raspberry Pi 4 Model B Rev 1.1", ("neon",)),
        (RENESAS_A55, "", ("neon", "neon_dotprod", "neon_fp16")),
        ("", "", ()),
    ],
    ids=["avx2 only", "vnni", "arm", "arm with dotprod", "unreadable"],
)
def test_cpuinfo(text: str, name: str, instructions: tuple[str, ...]) -> None:
    assert parse_cpuinfo(text) == (name, instructions)


def test_sysctl_of_an_apple() -> None:
    name, instructions, caches = parse_sysctl(APPLE_M1)
    assert name == "Apple M1"
    assert instructions == ("neon", "neon_dotprod", "neon_fp16")
    assert caches == {"L1d": 65536, "L2": 4194304}


def test_sysctl_that_says_nothing() -> None:
    assert parse_sysctl("") == ("", (), {})


@pytest.mark.parametrize(
    ("text", "processors"),
    [("150000 100000\n", 2), ("200000 100000", 2), ("50000 100000", 1), ("max 100000\n", None), ("", None)],
)
def test_a_quota_counts_as_whole_processors(text: str, processors: int | None) -> None:
    assert parse_cpu_max(text) == processors


@pytest.mark.parametrize(("text", "size"), [("48K\n", 49152), ("32M", 2**25), ("1G", 2**30), ("17", 17), ("many", 0)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_this_machine_describes_itself() -> None:
    machine = hardware()
    assert 1 <= machine.cores <= machine.threads <= (os.cpu_count() or 1)
    assert machine.cpu
    assert machine.memory_bytes > 2**28
    assert set(machine.instructions) <= set(probe.INSTRUCTIONS.values())
    assert all(size > 0 for size in machine.caches_bytes.values())


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no processor affinity")
def test_affinity_is_heeded() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from pocketlens.targets.probe import hardware; m = hardware(); print(m.cores, m.threads)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]


def test_peak_memory_grows_with_what_was_held() -> None:
    code = (
        "from pocketlens.targets.probe import peak_memory_bytes as peak; a = peak();"
        "b = bytearray(64 * 2**20); b[::4096] = b'1' * len(b[::4096]); del b; print(peak() - a)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 60 * 2**20 <= int(done.stdout) <= 80 * 2**20
    assert peak_memory_bytes() > 10 * 2**20
