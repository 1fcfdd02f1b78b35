"""Sweeps: every arm over every seed, none twice, none lost."""
