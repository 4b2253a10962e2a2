"""Tools for maintainers: the built-in pair, benchmarks, the demo."""
