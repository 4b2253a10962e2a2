"""The program `sled-hub`, also as `python -m hub`."""

from __future__ import annotations

from shared.interrupts import end_at_once


def main() -> None:
    """Run the command line; Ctrl-C ends it at once until it serves. Raises SystemExit."""
    end_at_once()
    from hub.cli import app

    app()


if __name__ == "__main__":
    main()
