"""The program `sled-hub`, also as `python -m hub`."""

from __future__ import annotations

from shared.loading import begin_loading


def main() -> None:
    """Run the command line; Ctrl-C ends it at once until it serves. Raises SystemExit."""
    begin_loading()
    from hub.cli import app

    app()


if __name__ == "__main__":
    main()
