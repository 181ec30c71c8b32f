"""Energies and forces from CP2K, pw.x, VASP and CASTEP, as an ase calculator that relaxes candidates."""
