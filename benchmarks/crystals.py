"""The table over all crystals of the library: composition, charge, density, bond lengths, pass or fail.

python benchmarks/crystals.py
"""

from __future__ import annotations

from surfshift.structures.bonding import bond_valence_length
from surfshift.structures.library import (
    CrystalDataError,
    check_crystal,
    crystal_names,
    disordered_crystal_names,
    load_crystal,
)


def main() -> None:
    """Print one line per crystal; the length in brackets is that of a bond of Pauling's strength."""
    print("| crystal | grade | composition of the cell | charge | density, published | bonds (angstrom) | result |")
    print("|---|---|---|---|---|---|---|")
    n_failed = 0
    for name in (*crystal_names(), *disordered_crystal_names()):
        crystal = load_crystal(name)
        states = {site.element: site.oxidation_state for site in crystal.sites}
        try:
            check = check_crystal(crystal)
        except CrystalDataError as error:
            n_failed += 1
            print(f"| {name} | {crystal.grade} | | | | | FAIL: {error} |")
            continue
        composition = " ".join(f"{element}{n:.4g}" for element, n in check.composition.items())
        bonds = "; ".join(
            f"{b.cation}-{b.anion} {b.length_ang[0]:.2f} to {b.length_ang[1]:.2f} "
            f"({_expected(b.cation, b.anion, states[b.cation], b.coordination[1]):.2f})"
            for b in check.bonds
        )
        print(
            f"| {name} | {crystal.grade} | {composition} | {check.charge:+.2f} | {check.density_g_cm3:.3f}, "
            f"{check.published_density_g_cm3:.3f} | {bonds} | pass |"
        )
    print(f"\n{n_failed} failed")


def _expected(cation: str, anion: str, state: float, coordination: int) -> float:
    """Length of a bond that carries state / coordination, angstrom (O'Keeffe and Brese 1991)."""
    from math import log

    return bond_valence_length(cation, anion) - 0.37 * log(state / coordination)


if __name__ == "__main__":
    main()
