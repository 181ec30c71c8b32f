"""Screening of interlayer coatings: stability windows, reactions with both neighbours, and their NMR lines."""
