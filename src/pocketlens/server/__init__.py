"""The app as a site: put it together with bundles and galleries, and serve it here. Free of torch."""

from pocketlens.lazy import names_from

_PUBLIC = {
    "Site": "site",
    "write_site": "site",
    "serve": "serve",
}
"""Public name -> the file it is in, imported when it is first asked for."""

__getattr__ = names_from(__name__, _PUBLIC)
