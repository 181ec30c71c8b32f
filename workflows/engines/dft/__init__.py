"""Energies and forces from CP2K and Quantum ESPRESSO, as ase calculators that relax candidates."""
