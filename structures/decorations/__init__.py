"""Decorations of slabs: what is added, taken away or exchanged, and where."""
