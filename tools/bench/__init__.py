"""Benchmarks: `python -m tools.bench NAME` prints a table, with `--json` one JSON object as its last line."""
