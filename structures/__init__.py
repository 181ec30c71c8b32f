"""Crystals, slabs, terminations and decorations: the structures a study can propose."""
