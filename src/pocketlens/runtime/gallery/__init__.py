"""Galleries: things known by example, without training; docs/gallery.md describes them. Free of torch."""

from pocketlens.lazy import names_from

_PUBLIC = {
    "Backbone": "gallery",
    "Entry": "gallery",
    "Gallery": "gallery",
    "open_gallery": "gallery_file",
    "write_gallery": "gallery_file",
    "Index": "search",
    "Match": "search",
    "Examples": "examples",
    "read_examples": "examples",
    "build_gallery": "build",
    "add": "edit",
    "merge": "edit",
    "remove": "edit",
    "OperatingPoint": "operating_point",
    "evaluate_gallery": "evaluate",
}
"""Public name -> the file it is in, imported when it is first asked for."""

__getattr__ = names_from(__name__, _PUBLIC)
