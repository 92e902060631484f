"""A runtime's profile on this machine: what the hardware says of itself, and what the probe found."""

from collections.abc import Callable, Mapping
from dataclasses import asdict

from pocketlens.targets.cache import remembered
from pocketlens.targets.probe import Hardware, hardware
from pocketlens.types import Json, Profile, Scheme

_PROBE = 3
"""Counted up when a probe asks other questions, so that old answers are not taken for new ones."""


def probed_profile(
    runtime: str,
    schemes: Mapping[str, Scheme],
    probe: Callable[[Hardware], Json],
    lanes: Callable[[tuple[str, ...]], int],
    *,
    refresh: bool = False,
) -> Profile:
    """The profile of a runtime here, its probe remembered per hardware and version.

    Args:
        runtime: its name and version, for example "onnxruntime 1.32.0".
        schemes: those it can compute, by name.
        probe: runs them: {"scheme": name, "figures": see Profile.probe, "peak": see Profile.peak}.
        lanes: instructions -> channels that its kernels compute at once.
        refresh: probe again.
    """
    machine = hardware()
    fingerprint = {**asdict(machine), "runtime": runtime, "probe": _PROBE}
    probed = remembered(f"{runtime.split()[0]}-probe", fingerprint, lambda: probe(machine), refresh=refresh)
    return Profile(
        device="this",
        runtime=runtime,
        scheme=schemes[probed["scheme"]],
        probe=probed["figures"],
        channel_multiple=lanes(machine.instructions),
        peak=probed["peak"],
        **asdict(machine),
    )
