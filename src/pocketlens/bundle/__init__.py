"""The .lens bundle: one zip that holds a model ready to ship; docs/bundle.md describes it. Free of torch."""

from pocketlens.lazy import names_from

_PUBLIC = {
    "Bundle": "archive",
    "GraphFiles": "archive",
    "open_bundle": "archive",
    "write_bundle": "archive",
    "Confidence": "confidence",
    "Embedding": "embedding",
    "GraphEntry": "manifest",
    "Manifest": "manifest",
    "Member": "manifest",
    "spec_from_json": "spec_json",
    "spec_to_json": "spec_json",
    "unpack": "unpack",
    "Whitening": "whitening",
}
"""Public name -> the file it is in, imported when it is first asked for."""

__getattr__ = names_from(__name__, _PUBLIC)
