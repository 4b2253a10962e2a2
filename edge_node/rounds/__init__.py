"""Rounds: draft, publish, await, commit, and what decides how."""
