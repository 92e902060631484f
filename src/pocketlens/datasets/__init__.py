"""Where images come from: a folder, a parquet file, the built-in sample. Free of torch.

A newcomer adds one file and one line to `splits.DATASETS`; the shared tests then run on it.
"""

from pocketlens.lazy import names_from

_PUBLIC = {
    "open_image": "images",
    "preprocess": "images",
    "LazyImageSet": "image_set",
    "spread_evenly": "choose",
    "teaching_images": "choose",
    "class_folders": "folder",
    "sample_photos": "sample",
    "DATASETS": "splits",
    "carve": "splits",
    "load": "splits",
    "load_data": "splits",
}
"""Public name -> the file it is in, imported when it is first asked for."""

__getattr__ = names_from(__name__, _PUBLIC)
