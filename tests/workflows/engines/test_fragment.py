from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from surfshift.structures.bonding import find_bonds
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.symmetry import distinct_sites
from surfshift.structures.vocabulary import AtomicStructure, as_tensor3
from surfshift.workflows.engines.errors import TooManyCapsChargedError, UnsupportedEnvironmentError
from surfshift.workflows.engines.fragment import bond_charges, cut_cluster, local_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _molecule(elements: str, positions: list[tuple[float, float, float]], states: list[float]) -> AtomicStructure:
    box = 12.0
    return AtomicStructure(
        lattice_ang=((box, 0, 0), (0, box, 0), (0, 0, box)),
        elements=tuple(elements.split()),
        frac_coords=tuple((x / box + 0.5, y / box + 0.5, z / box + 0.5) for x, y, z in positions),
        oxidation_states=tuple(states),
    )


WATER = _molecule("O H H", [(0, 0, 0), (0, 0.757, 0.587), (0, -0.757, 0.587)], [-2, 1, 1])


@pytest.mark.parametrize(("element", "cap_charge"), [("P", 1.25), ("Al", 0.75)])
def test_berlinite_two_shells_is_21_atoms_and_12_caps(
    berlinite: AtomicStructure, element: str, cap_charge: float
) -> None:
    """Around P the outermost cations are Al, whose P neighbours are lost, and the reverse."""
    target = berlinite.elements.index(element)
    cluster = cut_cluster(berlinite, target, shells=2, max_cap_rescaling=0.01)
    assert len(cluster.elements) == 21
    assert len(cluster.cap_charges) == 12
    assert cluster.cap_charges == pytest.approx(np.full(12, cap_charge), abs=0.03)
    assert cluster.formal_charge + cluster.cap_charges.sum() == pytest.approx(0.0, abs=1e-9)
    assert cluster.cap_rescaling == pytest.approx(1.0, abs=0.01)
    assert cluster.elements[0] == element
    assert cluster.positions_ang[0] == pytest.approx([0, 0, 0])
    assert sum(cluster.is_near) == 5


@pytest.mark.parametrize("name", ["Li3PO4_beta", "LiAlO2_alpha", "Al2O3_corundum", "LiAlO2_gamma"])
@pytest.mark.parametrize("shells", [1, 2])
def test_clusters_of_every_site_are_neutral_without_forcing(name: str, shells: int) -> None:
    crystal = build_crystal(load_crystal(name))
    for orbit in distinct_sites(crystal):
        cluster = cut_cluster(crystal, orbit.atom_indices[0], shells=shells, max_cap_rescaling=0.1)
        assert cluster.formal_charge + cluster.cap_charges.sum() == pytest.approx(0.0, abs=1e-9)
        assert cluster.cap_charges.min() > 0


def test_equivalent_atoms_get_equal_clusters(berlinite: AtomicStructure) -> None:
    orbit = distinct_sites(berlinite, elements=["P"])[0]
    spectra = []
    for atom in orbit.atom_indices:
        cluster = cut_cluster(berlinite, atom, shells=2, max_cap_rescaling=0.1)
        everything = np.vstack([cluster.positions_ang, cluster.cap_positions_ang])
        distances = np.linalg.norm(everything[:, None] - everything[None], axis=2)
        spectra.append(np.sort(distances.ravel()))
    assert spectra[1] == pytest.approx(spectra[0], abs=1e-4)
    assert spectra[2] == pytest.approx(spectra[0], abs=1e-4)


def test_every_kept_cation_keeps_its_whole_polyhedron(berlinite: AtomicStructure) -> None:
    cluster = cut_cluster(berlinite, 0, shells=2, max_cap_rescaling=0.1)
    for element, position in zip(cluster.elements, cluster.positions_ang, strict=True):
        if element in {"Al", "P"}:
            distances = np.linalg.norm(cluster.positions_ang - position, axis=1)
            assert int(((distances > 0.1) & (distances < 1.9)).sum()) == 4


def test_bond_charges_of_a_cation_sum_to_its_oxidation_state(berlinite: AtomicStructure) -> None:
    charges = bond_charges(berlinite, find_bonds(berlinite))
    for index, state in enumerate(berlinite.oxidation_states):
        if state > 0:
            assert sum(q for (i, _), q in charges.items() if i == index) == pytest.approx(state)


def test_a_molecule_in_vacuum_needs_no_caps() -> None:
    cluster = cut_cluster(WATER, 0, shells=2, max_cap_rescaling=0.1)
    assert sorted(cluster.elements) == ["H", "H", "O"]
    assert len(cluster.cap_charges) == 0


def test_hydrogen_target_takes_its_hydrogen_bond_acceptor() -> None:
    dimer = _molecule(
        "O H H O H H",
        [(0, 0, 0), (0.97, 0, 0), (-0.24, 0.94, 0), (2.75, 0, 0), (3.1, 0.6, 0.66), (3.1, 0.6, -0.66)],
        [-2, 1, 1, -2, 1, 1],
    )
    assert len(cut_cluster(dimer, 1, shells=1, max_cap_rescaling=0.1).elements) == 6
    assert len(cut_cluster(dimer, 2, shells=1, max_cap_rescaling=0.1).elements) == 3


def test_bonded_anions_are_refused() -> None:
    peroxide = _molecule("H O O H", [(0.9, 0.3, 0), (0, 0, 0), (0, -1.45, 0), (0.9, -1.75, 0)], [1, -1, -1, 1])
    with pytest.raises(UnsupportedEnvironmentError, match="bonded anions"):
        cut_cluster(peroxide, 1, shells=1, max_cap_rescaling=0.1)


def test_a_bare_ion_is_refused() -> None:
    lone = _molecule("Li O", [(0, 0, 0), (5, 0, 0)], [1, -1])
    with pytest.raises(UnsupportedEnvironmentError, match="has no bond"):
        cut_cluster(lone, 0, shells=1, max_cap_rescaling=0.1)


def test_a_cluster_that_cannot_be_neutral_is_refused() -> None:
    hydroxide = _molecule("O H", [(0, 0, 0), (0, 0, 0.96)], [-2, 1])
    with pytest.raises(TooManyCapsChargedError, match="formal charge -1"):
        cut_cluster(hydroxide, 0, shells=1, max_cap_rescaling=0.1)


@pytest.mark.parametrize("name", ["AlPO4_berlinite", "LiAlO2_alpha", "Li3PO4_beta"])
def test_local_frame_turns_with_the_crystal(name: str) -> None:
    """In its own axes a cluster looks the same however the crystal lies."""
    crystal = build_crystal(load_crystal(name))
    turn = Rotation.from_euler("xyz", [0.7, 0.2, -1.9]).as_matrix()
    turned = crystal.model_copy(update={"lattice_ang": as_tensor3(crystal.lattice @ turn.T)})
    for orbit in distinct_sites(crystal):
        frames, pictures = [], []
        for structure in (crystal, turned):
            cluster = cut_cluster(structure, orbit.atom_indices[0], shells=1, max_cap_rescaling=0.2)
            frames.append(local_frame(cluster))
            # a grid does not tell an axis from its opposite
            pictures.append(np.abs(cluster.positions_ang @ frames[-1].T))
        assert frames[0] @ frames[0].T == pytest.approx(np.eye(3), abs=1e-12)
        assert np.linalg.det(frames[0]) == pytest.approx(1.0)
        assert _largest_gap(pictures[0], pictures[1]) < 0.01


def test_local_frame_of_equivalent_atoms_differs_by_a_symmetry(berlinite: AtomicStructure) -> None:
    orbit = distinct_sites(berlinite, elements=["P"])[0]
    pictures = []
    for atom in orbit.atom_indices:
        cluster = cut_cluster(berlinite, atom, shells=2, max_cap_rescaling=0.1)
        pictures.append(np.abs(cluster.positions_ang @ local_frame(cluster).T))
    assert _largest_gap(pictures[0], pictures[1]) < 0.01
    assert _largest_gap(pictures[0], pictures[2]) < 0.01


def _largest_gap(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Largest distance from an atom of one picture to the nearest one of the other."""
    distances = np.linalg.norm(first[:, None] - second[None], axis=2)
    return float(max(distances.min(axis=0).max(), distances.min(axis=1).max()))
