"""Tries the node's HTTP server with OpenAI's own client: `python -m tools.try_openai`.

A broker, a hub and `sled-node run` with an HTTP server run as they would in a house. Prints what was checked; exits with status 1 where something
is not as it should be.
"""

from __future__ import annotations

from shared.install import needing
from shared.program import run
from tools.gateway.served import try_it


def main() -> None:
    """Run all checks."""
    with needing("dev"):
        from tools.gateway.openai_trial import OpenAITrial
    try_it(OpenAITrial)


if __name__ == "__main__":
    run("tools.try_openai", main)
