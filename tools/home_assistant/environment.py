"""Home Assistant Core in an environment of its own: the newest version that a Python of this machine can run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

from tools.rig.progress import steps

FOLDER = Path("build/home-assistant")
_PYTHONS = ("python3.14", "python3.13")  # older ones run versions that are more than a year old
_INTEGRATIONS = (
    "api",
    "config",
    "conversation",
    "demo",
    "frontend",
    "http",
    "intent",
    "logbook",
    "mqtt",
    "onboarding",
    "recorder",
    "todo",
    "websocket_api",
    "wyoming",
)


def home_assistant() -> tuple[Path, str]:
    """The program `hass` and its version, installed if it is not there. Raises RuntimeError with a sentence."""
    python, stamp = FOLDER / "bin" / "python", FOLDER / ".set-up"
    if not stamp.exists():
        shutil.rmtree(FOLDER, ignore_errors=True)
        with steps() as step:
            step("making an environment for Home Assistant")
            _run([_python(), "-m", "venv", str(FOLDER)])
            step("installing Home Assistant Core (400 MB)")
            _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "homeassistant"])
            step("installing what its integrations need")
            _run(
                [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *_requirements(python)]
            )
        stamp.touch()
    said = _run([str(python), "-m", "pip", "list", "--format=json", "--disable-pip-version-check"])
    version = next(each["version"] for each in json.loads(said) if each["name"] == "homeassistant")
    return FOLDER / "bin" / "hass", version


def _python() -> str:
    """A Python that recent versions need. Raises RuntimeError."""
    for name in _PYTHONS:
        found = shutil.which(name)
        if found is not None and not subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode:
            return found
    raise RuntimeError(f"Home Assistant needs {' or '.join(_PYTHONS[::-1])}; install one of them, and try again")


def _requirements(python: Path) -> list[str]:
    """What the integrations' manifests say that they need: Home Assistant would install it when it starts."""
    where = _run([str(python), "-c", "import homeassistant.components as c; print(c.__path__[0])"]).strip()
    seen: set[str] = set()
    needed: set[str] = set()

    def walk(integration: str) -> None:
        manifest = Path(where) / integration / "manifest.json"
        if integration in seen or not manifest.exists():
            return
        seen.add(integration)
        told = json.loads(manifest.read_text())
        needed.update(told.get("requirements", ()))
        for each in told.get("dependencies", ()):
            walk(each)

    for integration in _INTEGRATIONS:
        walk(integration)
    return sorted(needed)


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = re.sub(r"\s+", " ", (done.stderr or done.stdout).strip())[-400:]
        raise RuntimeError(f"{' '.join(command[:4])} … failed: {last}")
    return done.stdout
