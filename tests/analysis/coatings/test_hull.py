import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from surfshift.analysis.coatings.hull import HullError, lowest_mixture


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
