from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]
ELSEWHERE = {"build/", ".venv/", "/"}  # folders that commands of the docs write, and paths of a reader's machine

LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
CODE_PATH = re.compile(r"`([\w./-]+/[\w.-]+\.(?:py|md|toml|conf|acl|service|json|sh|txt|onnx|safetensors))`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_lead_to_files(page: Path) -> None:
    text = page.read_text()
    links = [target for target in LINK.findall(text) if "://" not in target]
    paths = [path for path in CODE_PATH.findall(text) if not any(path.startswith(folder) for folder in ELSEWHERE)]
    missing = [target for target in links if not (page.parent / target).exists()]
    missing += [path for path in paths if not (ROOT / path).exists()]
    assert not missing


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 700
