"""Names a pair's exit head in its manifest."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from shared.private_file import PUBLIC, write_file


def record(manifest: Path, head: str) -> None:
    """Let the manifest name the file `head` beside it as the exit head, with its hash; all else stays as it is."""
    text = manifest.read_text()
    line = f'"{head}" = "{hashlib.sha256((manifest.parent / head).read_bytes()).hexdigest()}"'
    text = re.sub(rf'^"{re.escape(head)}" = ".*"\n', "", text, flags=re.MULTILINE)
    if not re.search(r"^\[exit\]$", text, re.MULTILINE):
        text = text.replace("[tokenizer]\n", f'[exit]\nhead = "{head}"\n\n[tokenizer]\n', 1)
    if not re.search(r"^\[sha256\]$", text, re.MULTILINE):
        text = f"{text.rstrip()}\n\n[sha256]\n"
    write_file(manifest, text.replace("[sha256]\n", f"[sha256]\n{line}\n", 1), PUBLIC)
