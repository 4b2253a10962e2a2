"""The files of the page, as they are in the package: nothing else is ever read for a browser."""

from __future__ import annotations

from importlib.resources import files as package_files

_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_FIRST = "index.html"


def files() -> dict[str, tuple[bytes, str]]:
    """Content and type of each by its path; "" is the page itself."""
    found = {
        file.name: (file.read_bytes(), _TYPES[file.name[file.name.rindex(".") :]])
        for file in package_files("hub.ui").joinpath("static").iterdir()
    }
    return found | {"": found[_FIRST]}
