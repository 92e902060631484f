import pytest

from pocketlens.errors import ConfigError, UnknownNameError
from pocketlens.scheme_json import scheme_from_json, scheme_to_json
from pocketlens.targets.form import Form
from pocketlens.targets.presets.preset import Preset
from pocketlens.targets.presets.table import PRESETS, load_preset


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_cites_pages_and_goes_through_json(name: str) -> None:
    preset = load_preset(name)
    assert preset.name == name
    assert all(s.url.startswith("https://") and s.title and s.says for s in preset.sources)
    if preset.scheme is not None:
        assert scheme_from_json(scheme_to_json(preset.scheme)) == preset.scheme
        assert preset.scheme.weight.zero_point == 0


def test_an_unknown_name_lists_the_valid_ones() -> None:
    with pytest.raises(UnknownNameError, match="apple, arm-dotprod, arm-i8mm, edgetpu, qnn-htp, tensorrt"):
        load_preset("npu")


def test_what_a_file_must_be_in_a_line() -> None:
    assert PRESETS["tensorrt"].asks() == (
        "activations int8, zero point 0; weights int8 -127..127 at 0, a scale a channel, biases in floats"
    )
    assert PRESETS["apple"].asks() == "16-bit floats, shapes fixed, batch 1"
    assert "a scale a channel (linear layers: one), every operator in integers" in PRESETS["edgetpu"].asks()


def test_a_preset_needs_a_page_and_integers_to_be_whole() -> None:
    apple = PRESETS["apple"]
    with pytest.raises(ConfigError, match="cite"):
        Preset(name="x", device="x", scheme=None, form=Form(), sources=())
    with pytest.raises(ConfigError, match="no scheme"):
        Preset(name="x", device="x", scheme=None, form=Form(whole=True), sources=apple.sources)


@pytest.mark.parametrize("fields", [{"bias": "int8"}, {"batch": 0}])
def test_a_form_checks_itself(fields: dict) -> None:
    with pytest.raises(ConfigError):
        Form(**fields)
