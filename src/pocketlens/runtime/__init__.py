"""Use a bundle: name what is in photos, videos and what the camera sees. Free of torch."""

from pocketlens.lazy import names_from

_PUBLIC = {
    "Answer": "recognizer",
    "Recognition": "recognizer",
    "Recognizer": "recognizer",
    "Frame": "camera",
    "frames": "camera",
}
"""Public name -> the file it is in, imported when it is first asked for."""

__getattr__ = names_from(__name__, _PUBLIC)
