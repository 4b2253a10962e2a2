"""Tests; those that need a broker start a real one."""
