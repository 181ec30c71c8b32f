"""Relaxation with real, cheap potentials: forces vanish, frozen atoms stay, symmetry is kept, failures have names."""

import numpy as np
import pytest
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from surfshift.structures.symmetry import distinct_sites
from surfshift.structures.vocabulary import AtomicStructure, Candidate, Region
from surfshift.workflows.relaxation import (
    DesorbedError,
    ExplodedError,
    NotConvergedError,
    relax_candidate,
)
from surfshift.workflows.study import RelaxSettings


def structure(atoms: object, states: dict[str, float]) -> AtomicStructure:
    symbols = atoms.get_chemical_symbols()  # type: ignore[attr-defined]
    return AtomicStructure(
        lattice_ang=tuple(map(tuple, np.array(atoms.cell).tolist())),  # type: ignore[attr-defined]
        elements=tuple(symbols),
        frac_coords=tuple(map(tuple, atoms.get_scaled_positions(wrap=False).tolist())),  # type: ignore[attr-defined]
        oxidation_states=tuple(states[symbol] for symbol in symbols),
    )


def slab(*, frozen: tuple[int, ...] = ()) -> Candidate:
    atoms = fcc111("Cu", (1, 1, 5), a=3.7, vacuum=6.0, periodic=True)
    made = structure(atoms, {"Cu": 0.0})
    return Candidate(
        name="Cu(111)",
        kind="slab",
        structure=made,
        parent="Cu",
        miller=(1, 1, 1),
        regions=(Region.SURFACE, Region.SUBSURFACE, Region.BULK, Region.SUBSURFACE, Region.SURFACE),
        frozen_atoms=frozen,
    )


def pair(distance: float, box: float = 30.0) -> Candidate:
    made = AtomicStructure(
        lattice_ang=((box, 0, 0), (0, box, 0), (0, 0, box)),
        elements=("Mg", "O"),
        frac_coords=((0.5, 0.5, 0.5), (0.5, 0.5, 0.5 + distance / box)),
        oxidation_states=(2.0, -2.0),
    )
    return Candidate(name="pair", kind="bulk", structure=made, parent="MgO", regions=(Region.BULK,) * 2)


def test_forces_vanish_and_energy_falls_while_the_cell_stays() -> None:
    candidate = slab()
    relaxed = relax_candidate(candidate, RelaxSettings(fmax_ev_per_ang=0.01), calculator=EMT())
    atoms = candidate.structure.to_ase()
    atoms.calc = EMT()
    assert relaxed.energy_ev < atoms.get_potential_energy()
    assert relaxed.max_force_ev_per_ang <= 0.01
    assert relaxed.is_converged
    assert relaxed.start_id == candidate.id != relaxed.candidate.id
    assert relaxed.candidate.structure.lattice_ang == candidate.structure.lattice_ang
    check = relaxed.candidate.structure.to_ase()
    check.calc = EMT()
    assert np.abs(check.get_forces()).max() <= 0.01


def test_symmetric_mode_keeps_equivalent_sites_equivalent() -> None:
    candidate = slab()
    before = [orbit.atom_indices for orbit in distinct_sites(candidate.structure)]
    relaxed = relax_candidate(candidate, RelaxSettings(), calculator=EMT())
    assert [orbit.atom_indices for orbit in distinct_sites(relaxed.candidate.structure, tolerance_ang=1e-5)] == before


def test_frozen_atoms_stay_in_fixed_bottom_mode_only() -> None:
    candidate = slab(frozen=(0, 1))
    start = candidate.structure.cart_coords
    fixed = relax_candidate(candidate, RelaxSettings(mode="fixed-bottom"), calculator=EMT()).candidate.structure
    free = relax_candidate(candidate, RelaxSettings(mode="symmetric"), calculator=EMT()).candidate.structure
    np.testing.assert_allclose(fixed.cart_coords[:2], start[:2], atol=1e-10)
    assert np.abs(fixed.cart_coords[2:] - start[2:]).max() > 0.01
    assert np.abs(free.cart_coords[:2] - start[:2]).max() > 0.01


def test_bulk_cell_moves_only_when_asked() -> None:
    made = structure(bulk("Cu", "fcc", a=3.7, cubic=True), {"Cu": 0.0})
    candidate = Candidate(name="Cu", kind="bulk", structure=made, parent="Cu", regions=(Region.BULK,) * 4)
    kept = relax_candidate(candidate, RelaxSettings(), calculator=EMT())
    moved = relax_candidate(candidate, RelaxSettings(relax_bulk_cell=True), calculator=EMT())
    assert kept.candidate.structure.lattice_ang == made.lattice_ang
    # 3.60 A is the lattice constant of copper in ase's EMT (ase documentation, EMT tests)
    assert moved.candidate.structure.lattice_ang[0][0] == pytest.approx(3.60, abs=0.02)
    assert moved.energy_ev < kept.energy_ev


def test_a_bulk_that_must_not_move_reports_its_true_forces() -> None:
    made = structure(bulk("Cu", "fcc", a=3.7, cubic=True), {"Cu": 0.0})
    shifted = made.moved_to(made.cart_coords + np.array([[0.1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]))
    candidate = Candidate(name="Cu", kind="bulk", structure=shifted, parent="Cu", regions=(Region.BULK,) * 4)
    relaxed = relax_candidate(candidate, RelaxSettings(relax_bulk_positions=False), calculator=EMT())
    assert relaxed.candidate.structure == shifted
    assert relaxed.n_steps == 0
    assert not relaxed.is_converged
    assert relaxed.max_force_ev_per_ang > 0.1


def test_too_few_steps_are_refused_by_name() -> None:
    with pytest.raises(NotConvergedError, match=r"Cu\(111\): the largest force is .* after 1 steps"):
        relax_candidate(slab(), RelaxSettings(max_steps=1, fmax_ev_per_ang=0.001), calculator=EMT())


def test_an_atom_without_bonds_is_refused_by_name() -> None:
    # the Lennard-Jones minimum lies at 2^(1/6) sigma = 3.9 A, far beyond any Mg-O bond
    with pytest.raises(DesorbedError, match="Mg0, O1 lost all bonds"):
        relax_candidate(pair(2.1), RelaxSettings(), calculator=LennardJones(sigma=3.5, epsilon=0.05, rc=15.0))


def test_an_explosion_is_refused_by_name() -> None:
    with pytest.raises(ExplodedError, match=r"moved by|not finite"):
        relax_candidate(
            pair(2.1, box=60.0), RelaxSettings(), calculator=LennardJones(sigma=11.0, epsilon=0.05, rc=29.0)
        )


def test_changed_bonds_are_noted() -> None:
    # minimum at 2.1 A: the pair, built without a bond, forms one
    relaxed = relax_candidate(
        pair(2.7), RelaxSettings(), calculator=LennardJones(sigma=2.1 / 2 ** (1 / 6), epsilon=1.0, rc=12.0)
    )
    assert relaxed.candidate.notes == ("relaxation formed 1 bonds: Mg0-O1",)
