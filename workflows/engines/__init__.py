"""NMR engines. ``cluster`` runs anywhere: GIAO-DFT on bond-valence-terminated clusters."""
