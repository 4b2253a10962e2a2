"""Traces of node and hub, put on one clock: how long each part of a round takes, and a timeline of it."""
