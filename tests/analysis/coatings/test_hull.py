import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from surfshift.analysis.coatings.hull import HullError, line_of_mixtures, lowest_mixture


def random_space(seed, m=5, n=40):
    rng = np.random.default_rng(seed)
    matrix = rng.dirichlet(np.full(m, 0.5), size=n).T
    matrix[:, :m] = np.eye(m)
    energies = -rng.uniform(0.0, 2.0, size=(7, n))
    energies[:, :m] = 0.0
    return matrix, energies, rng.dirichlet(np.ones(m))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_every_set_of_energies_gives_the_optimum_of_scipys_linear_program(seed):
    matrix, energies, amounts = random_space(seed)
    found = lowest_mixture(matrix, energies, amounts, np.arange(5))
    for k, costs in enumerate(energies):
        oracle = linprog(costs, A_eq=matrix, b_eq=amounts)
        assert found.energy_ev[k] == pytest.approx(oracle.fun, abs=1e-6)
        assert found.potentials_ev[k] @ amounts == pytest.approx(oracle.fun, abs=1e-6)
        # no phase lies below the plane of the chemical potentials
        assert (costs - found.potentials_ev[k] @ matrix).min() > -1e-7
        # the mixture has the composition
        assert matrix[:, found.basis[k]] @ found.amounts[k] == pytest.approx(amounts, abs=1e-7)


def test_a_later_basis_is_a_start_too():
    matrix, energies, amounts = random_space(3)
    cold = lowest_mixture(matrix, energies, amounts, np.arange(5))
    warm = lowest_mixture(matrix, energies, amounts, cold.basis[0])
    assert warm.energy_ev == pytest.approx(cold.energy_ev, abs=1e-9)


def test_a_pure_element_is_degenerate_and_still_found():
    matrix, energies, _ = random_space(4)
    found = lowest_mixture(matrix, energies, np.eye(5)[2], np.arange(5))
    assert found.energy_ev == pytest.approx(np.zeros(7), abs=1e-6)


def test_energies_without_a_lower_bound_are_refused():
    matrix = np.array([[1.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    with pytest.raises(HullError, match="no lower bound"):
        lowest_mixture(matrix, np.array([0.0, 0.0, -1.0]), np.array([0.5, 0.5]), np.arange(2))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_pieces_of_a_line_are_the_lowest_mixtures_at_every_point_of_it(seed):
    matrix, energies, low = random_space(seed)
    high = np.random.default_rng(seed + 1).dirichlet(np.ones(5))
    pieces = line_of_mixtures(matrix, energies[0], low, high, np.arange(5))
    starts = [piece.start for piece in pieces]
    assert starts[0] == 0.0
    assert starts == sorted(starts)
    for share in np.linspace(0.0, 1.0, 23):
        composition = (1.0 - share) * low + share * high
        piece = pieces[int(np.searchsorted(starts, share, side="right")) - 1]
        best = lowest_mixture(matrix, energies[0], composition, np.arange(5))
        assert piece.potentials_ev @ composition == pytest.approx(best.energy_ev[0], abs=1e-6)
        assert matrix[:, piece.basis] @ piece.amounts(composition) == pytest.approx(composition, abs=1e-6)


def test_a_line_between_two_elements_ends_in_them():
    matrix, energies, _ = random_space(5)
    pieces = line_of_mixtures(matrix, energies[0], np.eye(5)[0], np.eye(5)[1], np.arange(5))
    for share in (0.0, 1.0):
        piece = pieces[0] if share == 0.0 else pieces[-1]
        composition = (1.0 - share) * np.eye(5)[0] + share * np.eye(5)[1]
        assert piece.potentials_ev @ composition == pytest.approx(0.0, abs=1e-6)
