"""Kills, freezes and network faults at any time, and whether each answer is still what an undisturbed run gives."""
