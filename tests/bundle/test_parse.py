import pytest

from pocketlens.bundle.parse import parse
from pocketlens.errors import BundleError


def test_plain_json() -> None:
    assert parse('{"a": [1, 2.5, null, true, "é"]}'.encode()) == {"a": [1, 2.5, None, True, "é"]}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "no valid JSON"),
        (b"{", "no valid JSON"),
        (b"\x80abc", "no valid JSON"),
        (b'{"a": 1, "a": 2}', "'a' occurs twice"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": -Infinity}', "-Infinity is no JSON number"),
        (b'{"a": 1e999}', "1e999 is not finite"),
        (b"9" * 5000, "no valid JSON"),
        (b"[" * 200_000, "nested too deep"),
        (b'{"a":' * 200_000, "nested too deep"),
    ],
)
def test_what_two_parsers_could_read_differently_is_refused(payload: bytes, reason: str) -> None:
    with pytest.raises(BundleError, match=reason):
        parse(payload)
