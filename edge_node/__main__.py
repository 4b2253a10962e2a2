"""The program `sled-node`, also as `python -m edge_node`."""

from __future__ import annotations

from shared.loading import begin_loading


def main() -> None:
    """Run the command line; Ctrl-C ends it at once until a command has what it needs. Raises SystemExit."""
    begin_loading()
    from edge_node.cli import app

    app()


if __name__ == "__main__":
    main()
