"""A broker, hubs, nodes and emulated devices on this machine, and the oracle, for tests and benchmarks."""
