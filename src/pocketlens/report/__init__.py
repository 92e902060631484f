"""Reports: records and measurements become one HTML file that opens offline. Free of torch."""

from pocketlens.lazy import names_from

_PUBLIC = {
    "Photo": "data",
    "ReportData": "data",
    "Stage": "data",
    "render": "html",
    "write": "html",
}
"""Public name -> the file it is in, imported when it is first asked for."""

__getattr__ = names_from(__name__, _PUBLIC)
