"""Dipolar sums, second moments, and dephasing against exact powder integrals."""

import math

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.spatial.transform import Rotation
from surfshift.analysis import dipolar
from surfshift.analysis.dipolar import (
    cp_rate,
    cp_share,
    dipolar_coupling_hz,
    hydrogen_sum,
    initial_dephasing,
    pair_dephasing,
    redor_fraction,
    second_moment,
    sums_over_neighbours,
    trapdor_fraction,
)
from surfshift.analysis.transfer import Transfer
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.vocabulary import AtomicStructure


def powder_dephasing(vectors: np.ndarray, constant_hz_ang3: float, time_s: float, n: int = 40_000) -> float:
    """dS/S0 of one spin with static partners at ``vectors`` (k, 3), angstrom: the exact product of cosines, averaged.

    REDOR phase of a pair: 4 sqrt(2) N Tr D sin(beta) cos(beta) sin(alpha) in the rotor frame (Gullion and Schaefer).
    """
    turns = Rotation.random(n, random_state=1).as_matrix()
    directions = np.einsum("nij,kj->nki", turns, vectors)
    lengths = np.linalg.norm(vectors, axis=1)
    x, _, z = np.moveaxis(directions / lengths[:, None], 2, 0)
    phase = 4.0 * math.sqrt(2.0) * time_s * (constant_hz_ang3 / lengths**3) * x * z
    return 1.0 - float(np.cos(phase).prod(axis=1).mean())


def test_couplings_are_those_of_textbooks() -> None:
    assert dipolar_coupling_hz("1H", "13C", 1.09) == pytest.approx(23.3e3, rel=0.01)
    assert dipolar_coupling_hz("1H", "1H", 1.0) == pytest.approx(120.12e3, rel=1e-3)
    assert dipolar_coupling_hz("31P", "27Al", 3.1) == dipolar_coupling_hz("27Al", "31P", 3.1)


def test_an_isolated_pair_is_the_powder_integral_at_all_times() -> None:
    constant = dipolar_coupling_hz("31P", "15N", 1.0)
    for periods in (0.1, 0.5, 1.0, 1.6, 2.5):
        exact = powder_dephasing(np.array([[0.0, 0.0, 2.0]]), constant, periods / (constant / 8.0))
        assert pair_dephasing(periods) == pytest.approx(exact, abs=0.01)
    assert pair_dephasing(0.0) == 0.0
    # van Vleck's second moment gives 16/15 lambda^2
    moment = second_moment("31P", "15N", 1.0 / 64.0)
    time = 0.1 / (constant / 8.0)
    assert initial_dephasing(moment, time) == pytest.approx(16.0 / 15.0 * 0.01, rel=1e-9)
    assert pair_dephasing(0.1) == pytest.approx(16.0 / 15.0 * 0.01, rel=0.02)


@pytest.mark.parametrize(
    "vectors",
    [
        [[0.0, 0.0, 2.6]],
        [[0.0, 0.0, 2.6], [2.6, 0.0, 0.0]],
        [[0.0, 0.0, 2.6], [0.0, 0.0, -2.6]],
        [[2.5, 0.0, 0.0], [0.0, 3.4, 0.0], [0.0, 0.0, 4.0], [-3.0, 1.0, 1.0]],
    ],
)
def test_fractions_hold_the_exact_dephasing_of_any_geometry(vectors: list[list[float]]) -> None:
    """The first fifth of the curve to 0.02, all of it within twice the error that is stated."""
    places = np.array(vectors)
    total = float((np.linalg.norm(places, axis=1) ** -6).sum())
    constant = dipolar_coupling_hz("31P", "1H", 1.0)
    for time_ms in (0.02, 0.05, 0.08, 0.12, 0.2, 0.4):
        exact = powder_dephasing(places, constant, time_ms * 1e-3)
        mean, error = redor_fraction("31P", "1H", total, time_ms)
        if exact < 0.2:
            assert mean == pytest.approx(exact, abs=0.02)
        assert abs(mean - exact) < 2.0 * error


def test_trapdor_is_bounded_by_what_mixing_all_states_can_do() -> None:
    nothing = trapdor_fraction("1H", "27Al", 0.0, 0.2)
    assert nothing[0] == 0.0
    mean, error = trapdor_fraction("1H", "27Al", 2.8**-6, 5.0)
    assert mean + math.sqrt(3.0) * error == pytest.approx(5.0 / 6.0, abs=0.01)
    assert trapdor_fraction("1H", "27Al", 2.8**-6, 0.1)[0] > trapdor_fraction("1H", "27Al", 4.5**-6, 0.1)[0]


def cubic(a: float = 3.0) -> AtomicStructure:
    return AtomicStructure(
        lattice_ang=np.diag([a, a, a]).tolist(),
        elements=("F",),
        frac_coords=((0.1, 0.2, 0.3),),
        periodic=(True, True, True),
        oxidation_states=(-1.0,),
    )


def test_sums_are_those_of_a_lattice_and_do_not_depend_on_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    # simple cubic lattice: 8.4019 a^-6 (Jones and Ingham, 1925)
    monkeypatch.setattr(dipolar, "REACH_ANG", 30.0)
    assert sums_over_neighbours(cubic(), 0, ("F", "H")) == {"F": pytest.approx(8.4019 / 3.0**6, rel=2e-3), "H": 0.0}


def test_sums_of_a_crystal_agree_with_those_of_ase_and_within_an_orbit() -> None:
    from ase import Atoms
    from ase.neighborlist import neighbor_list

    berlinite = build_crystal(load_crystal("AlPO4_berlinite"))
    atoms = Atoms(berlinite.elements, scaled_positions=berlinite.frac_coords, cell=berlinite.lattice, pbc=True)
    i, j, d = neighbor_list("ijd", atoms, dipolar.REACH_ANG)
    for atom in (k for k, element in enumerate(berlinite.elements) if element == "P"):
        found = sums_over_neighbours(berlinite, atom, ("Al", "O"))
        for element, value in found.items():
            own = (i == atom) & np.array([berlinite.elements[k] == element for k in j])
            assert value == pytest.approx(float((d[own] ** -6).sum()), rel=1e-6)
    assert hydrogen_sum(berlinite, 0) == 0.0


def test_cross_polarisation_builds_up_faster_near_hydrogen_and_decays_with_t1rho() -> None:
    near, far = cp_rate("31P", 2.2**-6, 2.5**-6), cp_rate("31P", 4.5**-6, 2.5**-6)
    assert near / far == pytest.approx((4.5 / 2.2) ** 6)
    # a P-OH group builds up within some tenths of a millisecond
    assert 0.05e-3 < 1.0 / near < 1e-3
    shares = [cp_share(near, t, None) for t in (0.01, 0.1, 1.0, 10.0)]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0, abs=0.02)
    assert cp_share(near, 10.0, 10.0) == pytest.approx(shares[-1] / math.e)
    assert cp_share(0.0, 10.0, None) == 0.0
    # without neighbours among themselves, protons do not build up infinitely fast
    assert cp_rate("31P", 2.2**-6, 0.0) == pytest.approx(math.sqrt(second_moment("31P", "1H", 2.2**-6)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dephasing_isotope": "31P"}, "belong together"),
        ({"dephasing_isotope": "31X", "dephasing_time_ms": 1.0}, "no nucleus"),
        ({"t1rho_ms": 1.0}, "without contact_time_ms"),
        ({"dephasing_abundance": 0.5}, "which is missing"),
        ({"contact_time_ms": -1.0}, "greater than 0"),
    ],
)
def test_times_that_say_nothing_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Transfer.model_validate(values)


def test_partners_are_elements_and_abundance_is_natural_unless_said() -> None:
    both = Transfer(contact_time_ms=1.0, dephasing_isotope="29Si", dephasing_time_ms=2.0)
    assert both.partners == ("H", "Si")
    assert both.abundance == pytest.approx(0.047, abs=0.001)
    assert both.model_copy(update={"dephasing_abundance": 0.95}).abundance == 0.95
    assert Transfer(contact_time_ms=1.0).abundance == 1.0
