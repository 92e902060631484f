import time

from pocketlens.targets.onnxruntime.peak import measured_peak


def test_peaks_of_this_machine() -> None:
    start = time.perf_counter()
    peak = measured_peak(2**20)
    assert time.perf_counter() - start < 2.5
    # Wide brackets around what any machine of the last ten years does; a wrong unit is off by 1000.
    assert 1 < peak["fp32_gmacs"] < 2000
    assert 1 < peak["int8_gmacs"] < 20000
    assert 0.5 < peak["bandwidth_gbs"] < 2000
