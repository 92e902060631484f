"""pocketlens devices: what this machine can do, and what is known of devices that are not here."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pocketlens.cli.console import Console


def devices(
    target: Annotated[str, typer.Option(help="The runtime to probe.")] = "onnxruntime",
    refresh: Annotated[bool, typer.Option("--refresh", help="Probe again instead of remembering.")] = False,
    schemes: Annotated[
        bool, typer.Option("--schemes", help="List the devices elsewhere that `squeeze --scheme` makes files for.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, all else on stderr.")] = False,
) -> None:
    """Show this machine's hardware, and the integer scheme that its runtime computes right and fast."""
    from pocketlens.cli.console import Console
    from pocketlens.cli.inputs import load_target
    from pocketlens.squeeze.output import profile_json

    console = Console(as_json)
    if schemes:
        _schemes(console)
        return
    profile = load_target(target).profile(refresh=refresh)
    caches = ", ".join(f"{level} {size // 1024} KiB" for level, size in profile.caches_bytes.items())
    console.say(
        f"[bold]{profile.device}[/]  {profile.cpu}, {profile.system}",
        f"\n  {profile.cores} cores, {profile.threads} threads, {profile.memory_bytes / 2**30:.0f} GiB, {caches}",
        f"\n  instructions: {', '.join(profile.instructions) or 'none that matter'}",
        f"\n  runtime: {profile.runtime}",
    )
    for name, figures in profile.probe.items():
        mark = "[bold green]chosen[/]" if figures.get("chosen") else "      "
        console.say(
            f"  {mark} {name:>10}  {figures.get('latency_ms', float('nan')):.3f} ms  {figures.get('reason', '')}"
        )
    for name, value in profile.peak.items():
        console.say(f"  peak {name}: {value:.1f}")
    console.finish(profile_json(profile))


def _schemes(console: "Console") -> None:
    """The presets with the pages that they follow."""
    from dataclasses import asdict

    from pocketlens.scheme_json import scheme_to_json
    from pocketlens.targets.presets.table import PRESETS

    for preset in PRESETS.values():
        console.say(f"[bold]{preset.name:>12}[/]  {preset.device}: {preset.asks()}")
        for source in preset.sources:
            console.say(f"{'':>12}  {source.title}\n{'':>12}  {source.url}")
    console.finish(
        {
            name: {
                "device": preset.device,
                "recipe": "half" if preset.scheme is None else "int8",
                "scheme": scheme_to_json(preset.scheme) if preset.scheme else None,
                "form": asdict(preset.form),
                "file": preset.file,
                "operators": sorted(preset.operators),
                "sources": [asdict(source) for source in preset.sources],
            }
            for name, preset in PRESETS.items()
        }
    )
