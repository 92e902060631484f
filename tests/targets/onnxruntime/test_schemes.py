import pytest

from pocketlens.targets.onnxruntime.schemes import SCHEMES, likely


@pytest.mark.parametrize(
    ("instructions", "name"),
    [
        (("avx2", "fma"), "u8u8"),
        (("avx2", "fma", "avx512f"), "u8u8"),
        (("avx2", "avx512f", "avx512_vnni"), "u8s8"),
        (("avx2", "avx_vnni"), "u8s8"),
        (("avx2", "amx_int8"), "u8s8"),
        (("neon", "neon_dotprod"), "u8s8"),
        ((), "u8u8"),
    ],
)
def test_the_rule(instructions: tuple[str, ...], name: str) -> None:
    assert likely(instructions) == name


def test_every_scheme_bears_its_name_and_has_one_weight_zero_point() -> None:
    for name, scheme in SCHEMES.items():
        assert scheme.name == name
        assert scheme.weight.zero_point is not None
        assert scheme.weight.qmax - scheme.weight.zero_point == scheme.weight.zero_point - scheme.weight.qmin


def test_two_products_of_the_7_bit_scheme_fit_16_bits() -> None:
    def largest(name: str) -> int:
        scheme = SCHEMES[name]
        return 2 * scheme.activation.qmax * (scheme.weight.qmax - (scheme.weight.zero_point or 0))

    assert largest("u8s8_7bit") == 32130 <= 2**15 - 1
    assert largest("u8s8") > 2**15 - 1
