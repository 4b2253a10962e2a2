"""Writes what follows from the broker's rules: `python -m tools.access`.

The table in docs/security.md is what a real broker allowed when everything was tried; deploy/mosquitto has examples of the
files that `sled-hub init-broker` writes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from hub.enrolment.access import Role, acl
from hub.enrolment.bridge import bridge_configuration
from hub.enrolment.configuration import configuration, listeners
from shared.topics import Topics
from tools.access.trial import Rights, topic_forms, trial_broker

ROOT = Path(__file__).resolve().parents[2]
PAGE, EXAMPLES = ROOT / "docs" / "security.md", ROOT / "deploy" / "mosquitto"
_BEGIN, _END = "<!-- written by python -m tools.access -->\n", "<!-- until here -->\n"
_FOLDER = Path("/etc/mosquitto/sled")
_EXAMPLE_OF_A_SITE = (
    "# An example for a site's own broker, see docs/scaling.md; `python -m tools.access` keeps it current.\n"
)
_EXAMPLE = "# An example of what `sled-hub init-broker` writes; `python -m tools.access` keeps it current.\n"


def table(rights: dict[str, Rights]) -> str:
    """Who may do what: a row for each topic and a column for each credential that has any rights, then those that have none."""
    shown = {title: each for title, each in rights.items() if each.read or each.write}
    lines = ["| topic | " + " | ".join(shown) + " |", "|---|" + "---|" * len(shown)]
    lines += [
        f"| `{form}` | " + " | ".join(_cell(form, each) for each in shown.values()) + " |" for form in topic_forms()
    ]
    without = [
        f"{title} ({'no rights' if each.admitted else 'refused'})"
        for title, each in rights.items()
        if title not in shown
    ]
    return "\n".join(lines) + f"\n\nNothing at all: {', '.join(without)}.\n"


def page_with(text: str, measured: str) -> str:
    """The page's `text` with the table between its marks."""
    before, _, rest = text.partition(_BEGIN)
    return before + _BEGIN + measured + _END + rest.partition(_END)[2]


def examples() -> dict[Path, str]:
    """The files in deploy/mosquitto."""
    roles = {"den": Role.HUB, "pi": Role.NODE, "tablet": Role.ASKER, "house": Role.HOME, "panel": Role.OBSERVER}
    written = {"sled.conf": configuration(_FOLDER, listeners(_FOLDER, 8883, 8884)), "sled.acl": acl(roles, Topics())}
    bridge = bridge_configuration(
        [("pi", "PASSWORD-OF-PI")], "hub.example:8883", Topics(), ca="/etc/mosquitto/hub-ca.crt"
    )
    written["bridge.conf"] = bridge
    files = {EXAMPLES / name: _EXAMPLE + text for name, text in written.items()}
    return {**files, EXAMPLES / "bridge.conf": _EXAMPLE_OF_A_SITE + bridge}


def measured() -> str:
    """The table of a broker that is tried now."""
    with tempfile.TemporaryDirectory(prefix="sled-access-") as folder, trial_broker(Path(folder)) as trial:
        return table({each.title: trial.rights(each) for each in trial.credentials})


def main() -> None:
    """Try, and write the files."""
    PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), measured()), encoding="utf-8")
    for path, text in examples().items():
        path.write_text(text, encoding="utf-8")


def _cell(form: str, rights: Rights) -> str:
    return ", ".join(word for word, forms in (("read", rights.read), ("write", rights.write)) if form in forms) or "no"


if __name__ == "__main__":
    main()
