"""The energy that a machine takes: measured where it can be, stated where its owner says how many watts it takes, else unknown."""
