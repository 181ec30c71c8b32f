"""Thermodynamics of surfaces: chemical potentials, vibrations, surface free energies and stable terminations."""
