"""Phonons with EMT forces: phonopy's own numbers, rest and motion, resuming, and refusals by name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.build import add_adsorbate, bulk, fcc100, fcc111
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.optimize import LBFGS
from ase.vibrations import Vibrations as AseVibrations
from PIL import Image
from pydantic import ValidationError
from surfshift.analysis.thermodynamics.vibrations import (
    ImaginaryModesError,
    heat_capacity_ev_per_k,
    vibrational_entropy_ev_per_k,
    vibrational_free_energy_ev,
)
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.vocabulary import AtomicStructure, Candidate, Region, as_tensor3
from surfshift.workflows.mode_following import NotFollowedError, follow_imaginary
from surfshift.workflows.phonon_figures import draw_bands
from surfshift.workflows.phonons import (
    PhononError,
    PhononFolderError,
    PhononSettings,
    UnrelaxedError,
    Vibrations,
    commensurate_points,
    run_partial_hessian,
    run_phonons,
)
from surfshift.workflows.relaxation import relax_candidate
from surfshift.workflows.study import RelaxSettings

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

KJ_PER_MOL = 96.48533212
SLAB = PhononSettings(supercell=(2, 2, 1), mesh=(4, 4, 1), is_slab=True)


class CountingEMT(EMT):  # type: ignore[misc]
    """EMT that counts its calculations, and can be told to stop after some, like a killed run."""

    def __init__(self, stop_after: int = 10**9) -> None:
        super().__init__()
        self.n_calculations = 0
        self.stop_after = stop_after

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        if self.n_calculations >= self.stop_after:
            raise KeyboardInterrupt
        self.n_calculations += 1
        super().calculate(*args, **kwargs)


def structure(atoms: Atoms) -> AtomicStructure:
    return AtomicStructure(
        lattice_ang=as_tensor3(np.array(atoms.cell)),
        elements=tuple(atoms.get_chemical_symbols()),
        frac_coords=tuple((float(x), float(y), float(z)) for x, y, z in atoms.get_scaled_positions(wrap=False)),
        oxidation_states=(0.0,) * len(atoms),
    )


def relaxed(atoms: Atoms, fmax: float = 1e-4) -> AtomicStructure:
    atoms.calc = EMT()
    LBFGS(atoms, logfile=None).run(fmax=fmax, steps=300)
    return structure(atoms)


def copper_111() -> AtomicStructure:
    return relaxed(fcc111("Cu", (1, 1, 4), a=3.59, vacuum=6.0, periodic=True))


def test_free_energy_of_a_slab_is_phonopys_own_on_the_same_forces(tmp_path: Path) -> None:
    phonons, found = run_phonons(copper_111(), SLAB, tmp_path, calculator=EMT())
    assert not found.imaginary
    assert sum(found.weights) == 16
    frequencies = found.real_frequencies_thz()
    phonons.run_mesh((4, 4, 1), is_gamma_center=True)
    own = phonons.run_thermal_properties(temperatures=[0.0, 150.0, 300.0, 400.0], exclude_gamma_acoustic=True)
    for temperature, free, entropy, heat in zip(
        own.temperatures, own.free_energy, own.entropy, own.heat_capacity, strict=True
    ):
        mine = vibrational_free_energy_ev(frequencies, temperature, found.weights)
        assert mine == pytest.approx(free / KJ_PER_MOL, abs=1e-6)
        mine = vibrational_entropy_ev_per_k(frequencies, temperature, found.weights)
        assert mine == pytest.approx(entropy / KJ_PER_MOL / 1000, abs=1e-8)
        mine = heat_capacity_ev_per_k(frequencies, temperature, found.weights)
        assert mine == pytest.approx(heat / KJ_PER_MOL / 1000, abs=1e-8)
    # a slab vibrates more softly than the bulk: its free energy per atom is lower
    _, inside = run_phonons(
        structure(bulk("Cu", a=3.59)),
        PhononSettings(supercell=(2, 2, 2), mesh=(6, 6, 6)),
        tmp_path / "bulk",
        calculator=EMT(),
    )
    bulk_free = vibrational_free_energy_ev(inside.real_frequencies_thz(), 300.0, inside.weights)
    assert vibrational_free_energy_ev(frequencies, 300.0, found.weights) / 4 < bulk_free


def test_bands_are_drawn(tmp_path: Path) -> None:
    slab = copper_111()
    phonons, _ = run_phonons(slab, SLAB, tmp_path, calculator=EMT())
    picture = draw_bands(phonons, slab, SLAB, tmp_path / "bands.png", title="Cu(111)")
    assert np.asarray(Image.open(picture).convert("L")).std() > 5
    with pytest.raises(PhononError, match="cannot write the picture"):
        draw_bands(phonons, slab, SLAB, tmp_path / "missing" / "bands.png")


def test_a_stopped_run_goes_on_and_a_finished_one_computes_nothing(tmp_path: Path) -> None:
    slab = copper_111()
    stopped = CountingEMT(stop_after=3)
    with pytest.raises(KeyboardInterrupt):
        run_phonons(slab, SLAB, tmp_path, calculator=stopped)
    assert len(list(tmp_path.glob("forces-*.json"))) == 3
    lines: list[str] = []
    second = CountingEMT()
    _, found = run_phonons(slab, SLAB, tmp_path, calculator=second, report=lines.append)
    assert second.n_calculations == len(lines) - 3 > 0
    third = CountingEMT()
    assert run_phonons(slab, SLAB, tmp_path, calculator=third)[1] == found
    assert third.n_calculations == 0
    other = SLAB.model_copy(update={"displacement_ang": 0.02})
    with pytest.raises(PhononFolderError, match="another structure, displacement or model"):
        run_phonons(slab, other, tmp_path, calculator=third)
    (tmp_path / "forces-0001.json").write_text("{", encoding="utf-8")
    with pytest.raises(PhononFolderError, match=r"forces-0001\.json.*delete the file"):
        run_phonons(slab, SLAB, tmp_path, calculator=third)
    (tmp_path / "forces-0001.json").write_text(json.dumps({"forces": [[0, 0, 0]]}), encoding="utf-8")
    with pytest.raises(PhononFolderError, match="of shape"):
        run_phonons(slab, SLAB, tmp_path, calculator=third)


def test_an_unrelaxed_structure_is_refused_before_any_displacement(tmp_path: Path) -> None:
    slab = fcc111("Cu", (1, 1, 4), a=3.59, vacuum=6.0, periodic=True)
    slab.positions[3, 2] += 0.2
    counting = CountingEMT()
    with pytest.raises(UnrelaxedError, match=r"the largest force .* is .* eV/A, allowed are 0\.01"):
        run_phonons(structure(slab), SLAB, tmp_path, calculator=counting)
    assert counting.n_calculations == 1


def test_a_partial_hessian_with_all_atoms_is_the_phonons_at_gamma(tmp_path: Path) -> None:
    slab = copper_111()
    _, phonons = run_phonons(slab, PhononSettings(mesh=(1, 1, 1), is_slab=True), tmp_path / "all", calculator=EMT())
    _, partial = run_partial_hessian(slab, range(4), PhononSettings(), tmp_path / "part", calculator=EMT())
    np.testing.assert_allclose(
        np.sort(partial.frequencies_thz[0])[3:], np.sort(phonons.frequencies_thz[0])[3:], atol=2e-3
    )


def test_a_partial_hessian_agrees_with_ase(tmp_path: Path) -> None:
    atoms = fcc111("Cu", (1, 1, 4), a=3.59, vacuum=6.0, periodic=True)
    slab = relaxed(atoms)
    shapes, found = run_partial_hessian(slab, [2, 3], PhononSettings(), tmp_path / "own", calculator=EMT())
    oracle = AseVibrations(atoms, indices=[2, 3], delta=0.01, name=str(tmp_path / "ase"))
    oracle.run()
    expected = np.sort(oracle.get_energies().real) / 4.135667696e-3
    np.testing.assert_allclose(found.frequencies_thz[0], expected, atol=1e-3)
    assert shapes.shape == (6, 2, 3)
    np.testing.assert_allclose(np.linalg.norm(shapes, axis=2).max(axis=1), 1.0)
    # freeing more atoms can only lower the lowest mode
    _, more = run_partial_hessian(slab, [1, 2, 3], PhononSettings(), tmp_path / "more", calculator=EMT())
    assert more.frequencies_thz[0][0] < found.frequencies_thz[0][0]
    with pytest.raises(PhononError, match="moving atoms must be among 0 to 3"):
        run_partial_hessian(slab, [4], PhononSettings(), tmp_path / "no", calculator=EMT())


def bridge_adatom() -> AtomicStructure:
    atoms = fcc100("Cu", (2, 2, 2), a=3.59, vacuum=6.0, periodic=True)
    add_adsorbate(atoms, "Cu", 1.6, "bridge")
    atoms.set_constraint(FixAtoms(indices=list(range(8))))
    return relaxed(atoms, 1e-3)


def test_an_adatom_on_the_bridge_is_followed_into_the_hollow(tmp_path: Path) -> None:
    start = bridge_adatom()
    _, before = run_partial_hessian(start, [8], PhononSettings(), tmp_path / "before", calculator=EMT())
    assert len(before.imaginary) == 1
    with pytest.raises(ImaginaryModesError, match="1 modes are imaginary"):
        before.real_frequencies_thz()
    followed = follow_imaginary(start, PhononSettings(), tmp_path / "follow", moving=[8], calculator=EMT())
    assert followed.is_minimum
    assert len(followed.rounds) == 1
    assert followed.rounds[0].gain_ev > 0.1
    # above four atoms of the layer below: the hollow
    atoms = followed.structure.to_ase()
    distances = np.sort(atoms.get_distances(8, range(8), mic=True))
    assert np.ptp(distances[:4]) < 0.02
    assert distances[4] > distances[3] + 0.5
    # the atoms that rest have not moved
    np.testing.assert_allclose(atoms.positions[:8], start.cart_coords[:8], atol=1e-9)


def test_a_mode_at_the_zone_boundary_needs_a_larger_cell(tmp_path: Path) -> None:
    # body-centred copper is unstable at N, the way to a close-packed crystal
    start = structure(bulk("Cu", "bcc", a=2.86, cubic=True))
    settings = PhononSettings(supercell=(2, 2, 2), mesh=(2, 2, 2), max_force_ev_per_ang=0.005)
    _, before = run_phonons(start, settings, tmp_path / "before", calculator=EMT())
    assert before.imaginary[0].frequency_thz == pytest.approx(-1.14, abs=0.05)
    assert not before.is_minimum_of_supercell
    with pytest.raises(ImaginaryModesError, match="follow the mode"):
        before.real_frequencies_thz()
    followed = follow_imaginary(start, settings, tmp_path / "follow", calculator=EMT(), max_rounds=1)
    first = followed.rounds[0]
    assert first.repeats == (2, 2, 1)
    assert len(followed.structure) == 8
    assert first.gain_ev > 0.001
    energies = []
    for cell in (start, followed.structure):
        atoms = cell.to_ase()
        atoms.calc = EMT()
        energies.append(atoms.get_potential_energy() / len(atoms))
    assert 2 * (energies[0] - energies[1]) == pytest.approx(first.gain_ev, abs=1e-6)


def test_a_mode_between_the_exact_wave_vectors_is_not_followed(tmp_path: Path) -> None:
    start = structure(bulk("Cu", "sc", a=2.4))
    settings = PhononSettings(supercell=(3, 1, 1), mesh=(4, 4, 4))
    with pytest.raises(NotFollowedError, match="take a larger one"):
        follow_imaginary(start, settings, tmp_path, calculator=EMT())
    _, found = run_phonons(start, settings, tmp_path / "round-0", calculator=EMT())
    # thirds are wave vectors of the supercell, quarters are not
    told = {mode.wave_vector: mode.is_interpolated for mode in found.imaginary}
    assert not told[0.333333, 0.0, 0.0]
    assert told[0.25, 0.0, 0.0]
    assert not found.is_minimum_of_supercell
    between = found.model_copy(update={"imaginary": tuple(m for m in found.imaginary if m.is_interpolated)})
    assert between.is_minimum_of_supercell
    with pytest.raises(ImaginaryModesError, match="take a larger supercell, or a mesh of its wave vectors only"):
        between.real_frequencies_thz()


def test_commensurate_points_and_settings() -> None:
    assert set(commensurate_points((2, 1, 1))) == {(0.0, 0.0, 0.0), (0.5, 0.0, 0.0)}
    assert len(commensurate_points((3, 2, 2))) == 12
    with pytest.raises(ValidationError, match="a slab does not repeat along its third axis"):
        PhononSettings(supercell=(2, 2, 2), is_slab=True)
    with pytest.raises(ValidationError, match="numbers from 1"):
        PhononSettings(supercell=(0, 1, 1))


def test_json_round_trip(tmp_path: Path) -> None:
    _, found = run_phonons(copper_111(), SLAB, tmp_path, calculator=EMT())
    assert Vibrations.model_validate_json(found.model_dump_json()) == found


@pytest.mark.slow
def test_berlinite_vibrates_without_instability_and_has_its_heat_capacity(tmp_path: Path) -> None:
    crystal = build_crystal(load_crystal("AlPO4_berlinite"))
    candidate = Candidate(
        name="berlinite", kind="bulk", structure=crystal, parent="berlinite", regions=(Region.BULK,) * len(crystal)
    )
    relaxed_bulk = relax_candidate(candidate, RelaxSettings(fmax_ev_per_ang=0.001, relax_bulk_cell=True))
    # the mesh holds the wave vectors at which the force constants of the supercell are exact, and no others
    settings = PhononSettings(supercell=(2, 2, 1), mesh=(2, 2, 1))
    followed = follow_imaginary(relaxed_bulk.candidate.structure, settings, tmp_path)
    assert followed.is_minimum
    per_mol = 96485.332 / 3
    heat = heat_capacity_ev_per_k(followed.vibrations.frequencies_thz, 298.15, followed.vibrations.weights) * per_mol
    # Cp(298.15 K) = 93.2 J/(mol K): CRC Handbook of Chemistry and Physics, standard thermodynamic properties
    assert heat == pytest.approx(93.2, rel=0.1)
