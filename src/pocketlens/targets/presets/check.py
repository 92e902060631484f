"""Does a file obey a preset? Read from the file alone, whoever wrote it."""

from dataclasses import dataclass
from pathlib import Path

from pocketlens.errors import TargetError
from pocketlens.targets.presets.preset import Preset


@dataclass(frozen=True)
class Violation:
    """A rule that a file breaks.

    Args:
        node: where, by the file's own name.
        rule: its short name, see docs/targets.md.
        found: what stands there and what should.
    """

    node: str
    rule: str
    found: str

    def __str__(self) -> str:
        return f"{self.node} breaks the rule on {self.rule}: {self.found}"


def check_preset(file: Path, preset: Preset) -> tuple[Violation, ...]:
    """Every rule of `preset` that the file breaks, in graph order.

    Args:
        file: .onnx, with its external data beside it, or .tflite.
        preset: see PRESETS.
    Raises: TargetError when the file cannot be read, or nothing is known of its format.
    """
    if file.suffix == ".onnx":
        from pocketlens.targets.presets.check_onnx import check_onnx

        return check_onnx(file, preset)
    if file.suffix == ".tflite":
        try:
            from pocketlens.targets.presets.check_tflite import check_tflite
        except ModuleNotFoundError as error:
            raise TargetError(f"reading {file} needs {error.name}: pip install 'pocketlens[litert]'") from error
        return check_tflite(file, preset)
    raise TargetError(f"a preset is checked on .onnx and .tflite files, got {file}")


def demand(file: Path, preset: Preset) -> None:
    """Raise TargetError naming the first node that breaks a rule, and how many more do."""
    found = list(check_preset(file, preset))
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise TargetError(f"the file does not suit {preset.device}: {found[0]}{more}")
