"""Surface energies: exact balances only, ranges where reservoirs set one, no number otherwise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from surfshift.analysis.surface_energy import (
    J_PER_M2,
    POLAR_NOTE,
    Reservoir,
    SurfaceEnergy,
    adhesion_energy,
    balance,
    reservoir_sets,
    surface_energy,
)
from surfshift.structures.decorations.decorate import decorate
from surfshift.structures.decorations.settings import ProtonExchange
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.slabs import cut_slabs
from surfshift.structures.vocabulary import Candidate

WATER = Reservoir(name="H2O", composition={"H": 2, "O": 1}, energy_ev=-14.0)
OXIDE = Reservoir(name="Li2O", composition={"Li": 2, "O": 1}, energy_ev=-14.3)
HYDROXIDE = Reservoir(name="LiOH", composition={"Li": 1, "O": 1, "H": 1}, energy_ev=-14.9)


@pytest.fixture(scope="module")
def slab() -> Candidate:
    return cut_slabs(build_crystal(load_crystal("Li3PO4_beta")), (0, 1, 0), layers=2, parent="Li3PO4")[0]


def bulk(energy_ev: float = -50.0) -> Reservoir:
    return Reservoir(name="Li3PO4", composition={"Li": 3, "P": 1, "O": 4}, energy_ev=energy_ev)


@given(st.integers(1, 40), st.integers(0, 12), st.integers(-6, 6))
def test_a_balance_is_found_again(n_bulk: int, n_water: int, n_oxide: int) -> None:
    atoms = {"Li": 3 * n_bulk + 2 * n_oxide, "P": n_bulk, "O": 4 * n_bulk + n_water + n_oxide, "H": 2 * n_water}
    found = balance(atoms, [bulk().composition, WATER.composition, OXIDE.composition])
    assert found == pytest.approx((n_bulk, n_water, n_oxide), abs=1e-6)
    assert balance({**atoms, "Ar": 1}, [bulk().composition, WATER.composition, OXIDE.composition]) is None


def test_dependent_reservoirs_are_refused() -> None:
    # LiOH is half of Li2O and H2O: amounts would not be unique
    phases = [bulk().composition, WATER.composition, OXIDE.composition, HYDROXIDE.composition]
    assert balance({"Li": 3, "P": 1, "O": 4}, phases) is None


def test_a_stoichiometric_slab_needs_the_bulk_alone(slab: Candidate) -> None:
    n = len(slab.structure) / 8
    found = surface_energy(slab, -50.0 * n + 2.0, bulk(), {"H2O": WATER})
    assert found.low_j_m2 == found.high_j_m2 == pytest.approx(J_PER_M2 * 2.0 / (2 * slab.area_ang2))
    assert found.balance == (f"{n:g} Li3PO4",)


def test_exchanged_lithium_gives_a_range_between_its_two_phases(slab: Candidate) -> None:
    crystal = build_crystal(load_crystal("Li3PO4_beta"))
    acid = decorate(slab, crystal, ProtonExchange(max_variants=1))[0]
    reservoirs = {"H2O": WATER, "Li2O": OXIDE, "LiOH": HYDROXIDE}
    n = len(slab.structure) / 8
    found = surface_energy(acid, -50.0 * n, bulk(), reservoirs, lithium=["Li2O", "LiOH"])
    assert found.low_j_m2 is not None
    assert found.high_j_m2 is not None
    assert {words.split()[-1] for words in found.balance} == {"Li2O", "LiOH"}
    # 2 Li+ leave: Li2O + H2O = 2 LiOH sets the width
    width = abs(OXIDE.energy_ev + WATER.energy_ev - 2 * HYDROXIDE.energy_ev)
    assert found.high_j_m2 - found.low_j_m2 == pytest.approx(J_PER_M2 * width / (2 * acid.area_ang2))
    without = surface_energy(acid, -50.0 * n, bulk(), {"H2O": WATER})
    assert without.low_j_m2 is None
    assert "mu(H), mu(Li)" in without.note


def test_a_polar_slab_has_no_surface_energy() -> None:
    crystal = build_crystal(load_crystal("AlPO4_berlinite"))
    (polar,) = cut_slabs(crystal, (0, 0, 1), layers=1, parent="AlPO4")
    reservoir = Reservoir(name="AlPO4", composition={"Al": 1, "P": 1, "O": 4}, energy_ev=-45.0)
    assert surface_energy(polar, -100.0, reservoir, {}) == SurfaceEnergy(note=POLAR_NOTE)
    # a dipole of a decoration alone does not grow with the thickness
    (flat, *_) = cut_slabs(crystal, (1, 0, 0), layers=1, parent="AlPO4")
    tilted = flat.model_copy(update={"dipole_e_ang": 0.3})
    assert surface_energy(tilted, -100.0, reservoir, {}, slab=flat).low_j_m2 is not None
    assert surface_energy(tilted, -100.0, reservoir, {}).low_j_m2 is None


def test_sets_are_the_smallest() -> None:
    atoms = {"Li": 8, "P": 2, "O": 10, "H": 2}
    others = {"H2O": WATER.composition, "Li2O": OXIDE.composition, "LiOH": HYDROXIDE.composition}
    assert reservoir_sets(atoms, bulk().composition, others, lithium=["Li2O", "LiOH"]) == (("LiOH",),)


def test_adhesion_is_positive_where_the_parts_lose_energy_apart() -> None:
    assert adhesion_energy(-10.0, [-4.0, -5.0], 16.021766) == pytest.approx(1.0)
