"""A phase space made up by hand, in which every answer can be worked out on paper."""

import pytest
from surfshift.analysis.coatings.energies import EnergyTable, PhaseEnergy, TableIndex


def made_table(**energies: float) -> EnergyTable:
    """Formation energies per formula unit, eV, as a table without shared errors."""
    from surfshift.analysis.coatings.energies import amounts_of, reduced

    phases = [
        PhaseEnergy(
            name=formula,
            formula=reduced(amounts_of(formula)),
            energy_ev_per_atom=energy / sum(amounts_of(formula).values()),
            error_ev_per_atom=0.0 if energy == 0.0 else 0.01,
            grade="recalled",
        )
        for formula, energy in energies.items()
    ]
    return EnergyTable(level="user", version="test", provenance={}, phases=tuple(phases))


@pytest.fixture(scope="session")
def phosphates() -> TableIndex:
    """Li-Al-P-O with rounded formation energies of the right order, eV per formula unit."""
    return TableIndex(
        made_table(
            Li=0.0, Al=0.0, P=0.0, O=0.0, Li2O=-6.2, Li2O2=-6.55, Al2O3=-17.3, LiAlO2=-12.3, AlPO4=-18.0,
            Li3PO4=-21.7, LiPO3=-12.7, P2O5=-15.6, Li3P=-3.4, LiP=-1.3, AlP=-1.7, LiAl=-0.5,
        )
    )  # fmt: skip
