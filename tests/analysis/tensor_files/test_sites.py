"""From a cell's tensors to symmetry-distinct sites: symmetry, averaging, what is missing, and matching without jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from surfshift.analysis.prediction import predict_sites
from surfshift.analysis.tensor_files import candidate_of, errors, merge, read_magres, read_tensors, site_tensors
from surfshift.analysis.tensor_files.sites import has_only_spin_half
from surfshift.analysis.vocabulary import Reference, ReferenceCompound
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.symmetry import distinct_sites
from surfshift.structures.vocabulary import Grade

if TYPE_CHECKING:
    from pathlib import Path

    from surfshift.analysis.tensor_files import PeriodicTensors
    from surfshift.structures.vocabulary import AtomicStructure


@pytest.fixture
def structure() -> AtomicStructure:
    return build_crystal(load_crystal("AlPO4_berlinite"))


@pytest.fixture
def symmetric(run: PeriodicTensors, structure: AtomicStructure) -> PeriodicTensors:
    """The tensors of the first atom of every orbit, carried to its equivalents: a perfectly symmetric result."""
    order = sorted(range(len(structure)), key=lambda k: structure.elements[k])
    place = {atom: k for k, atom in enumerate(order)}
    shielding, efg = list(run.shielding_ppm), list(run.efg_au)
    for orbit in distinct_sites(structure):
        first = place[orbit.atom_indices[0]]
        # the site's own symmetry first: average over the rotations that leave the atom in place
        sigma, gradient = np.array(shielding[first]), np.array(efg[first])
        for atom, s, v in zip(orbit.atom_indices, orbit.expand(sigma), orbit.expand(gradient), strict=True):
            shielding[place[atom]], efg[place[atom]] = s, v
    return run.model_copy(update={"shielding_ppm": tuple(shielding), "efg_au": tuple(efg)})


def test_sites_of_a_symmetric_result(symmetric: PeriodicTensors, structure: AtomicStructure) -> None:
    sites = site_tensors(symmetric, structure)
    assert [(s.element, len(s.atom_indices)) for s in sites] == [("Al", 3), ("P", 3), ("O", 6), ("O", 6)]
    order = sorted(range(len(structure)), key=lambda k: structure.elements[k])
    for site in sites:
        assert site.structure_id == structure.content_id
        assert site.checks["shielding_spread_ppm"] < 1e-9
        assert site.checks["is_reordered"] == 1.0
        for atom, sigma, gradient in zip(site.atom_indices, site.shielding_ppm, site.efg_au, strict=True):
            np.testing.assert_allclose(sigma, symmetric.shielding_ppm[order.index(atom)], atol=1e-9)
            np.testing.assert_allclose(gradient, symmetric.efg_au[order.index(atom)], atol=1e-9)


def test_unequal_equivalents_are_refused_or_averaged(run: PeriodicTensors, structure: AtomicStructure) -> None:
    with pytest.raises(errors.UnequalEquivalentsError, match="3 atoms Al"):
        site_tensors(run, structure)
    sites = site_tensors(run, structure, max_spread_ppm=1e3, max_spread_au=1e3)
    order = sorted(range(len(structure)), key=lambda k: structure.elements[k])
    for site in sites:
        own = [run.sigma_iso_ppm[order.index(atom)] for atom in site.atom_indices]
        assert site.sigma_iso_ppm == pytest.approx(np.mean(own))
        assert site.checks["shielding_spread_ppm"] > 1.0


def test_quartz_has_two_sites_with_small_spread(parsers: Path) -> None:
    run = read_tensors(parsers / "qe_gipaw" / "quartz")
    silicon, oxygen = site_tensors(run, run.structure())
    assert (len(silicon.atom_indices), len(oxygen.atom_indices)) == (3, 6)
    assert silicon.sigma_iso_ppm == pytest.approx(431.31, abs=0.01)
    assert oxygen.sigma_iso_ppm == pytest.approx(223.27, abs=0.01)
    assert 0.0 < silicon.checks["shielding_spread_ppm"] < 0.05


def test_sites_of_two_codes_belong_to_the_same_atoms(parsers: Path) -> None:
    castep, vasp = read_tensors(parsers / "castep/AlPO-14.magres"), read_tensors(parsers / "vasp/AlPO-14.OUTCAR")
    structure = castep.structure()
    pairs = list(zip(site_tensors(castep, structure), site_tensors(vasp, structure), strict=True))
    assert len(pairs) == 24
    for one, other in pairs:
        assert one.atom_indices == other.atom_indices
        assert one.method.key != other.method.key
        assert other.checks["is_reordered"] == 1.0
        assert one.checks["shielding_spread_ppm"] < 0.01


def test_a_missing_field_gradient_matters_only_to_quadrupolar_nuclei(
    symmetric: PeriodicTensors, structure: AtomicStructure
) -> None:
    only_nmr = symmetric.model_copy(update={"efg_au": (None,) * len(symmetric)})
    (phosphorus,) = site_tensors(only_nmr, structure, elements={"P"})
    assert phosphorus.checks["efg_is_missing"] == 1.0
    assert not np.any(phosphorus.efg_au)
    with pytest.raises(errors.MissingTensorsError, match="no field gradient of Al 1, Al 2, Al 3, O 1 and 11 more"):
        site_tensors(only_nmr, structure)
    with pytest.raises(errors.MissingTensorsError, match="no shielding of P 1"):
        site_tensors(
            symmetric.model_copy(update={"shielding_ppm": (None,) * len(symmetric)}), structure, elements={"P"}
        )
    with pytest.raises(errors.MissingTensorsError, match="the structure has no Si"):
        site_tensors(symmetric, structure, elements={"Si"})
    assert has_only_spin_half("P")
    assert not has_only_spin_half("Al")


def test_separate_files_are_merged(symmetric: PeriodicTensors, structure: AtomicStructure) -> None:
    empty = (None,) * len(symmetric)
    nmr, efg = symmetric.model_copy(update={"efg_au": empty}), symmetric.model_copy(update={"shielding_ppm": empty})
    assert site_tensors(merge(nmr, efg), structure) == site_tensors(symmetric, structure)
    with pytest.raises(errors.InconsistentFileError, match="cutoff_ev 700"):
        merge(nmr, efg.model_copy(update={"cutoff_ev": 500.0}))
    with pytest.raises(errors.InconsistentFileError, match="for Al"):
        merge(nmr, efg.model_copy(update={"potentials": {"Al": "another"}}))
    doubled = tuple(tuple(tuple(2.0 * x for x in row) for row in t) for t in symmetric.shielding_ppm if t is not None)
    with pytest.raises(errors.InconsistentFileError, match="they differ"):
        merge(nmr, symmetric.model_copy(update={"shielding_ppm": doubled}))


def test_method_depends_on_what_must_agree_with_a_reference(run: PeriodicTensors) -> None:
    other = run.model_copy(update={"potentials": {**run.potentials, "O": "another"}})
    assert other.method("P").key == run.method("P").key
    assert other.method("O").key != run.method("O").key
    assert run.model_copy(update={"macroscopic": "left out"}).method("P").key != run.method("P").key
    assert run.model_copy(update={"cutoff_ev": 500.0}).method("P").key != run.method("P").key


def test_a_users_file_is_matched_without_any_job(parsers: Path) -> None:
    run = read_magres(parsers / "castep" / "AlPO-14.magres")
    candidate = candidate_of(run, "AlPO-14")
    sites = site_tensors(run, candidate.structure, elements={"Al"})
    # the published relation for CASTEP shieldings of 27Al (170 compounds, RMSE 4.4 ppm)
    reference = Reference(
        isotope="27Al",
        method=run.method("Al"),
        slope=-1.069,
        intercept_ppm=590.8,
        covariance=((1e-6, 0.0), (0.0, 1e-4)),
        sigma_mean_ppm=520.0,
        site_error_ppm=4.4,
        compounds=(
            ReferenceCompound(
                name="set",
                sigma_iso_ppm=520.0,
                delta_iso_ppm=35.0,
                delta_error_ppm=1.0,
                source="set",
                grade=Grade.MODEL,
            ),
        ),
    )
    predicted = predict_sites(candidate, sites, {"27Al": reference}, ["27Al"])
    shifts = sorted(site.delta_iso_ppm for site in predicted)
    assert len(shifts) == 4
    assert 30.0 < shifts[0] < shifts[-1] < 60.0
    assert candidate.kind == "bulk"
    assert sum(candidate.structure.oxidation_states) == pytest.approx(0.0)


def test_a_slab_candidate_has_vacuum_along_its_third_vector(run: PeriodicTensors) -> None:
    slab = candidate_of(run, "slab", miller=(1, 0, 0))
    assert slab.structure.periodic == (True, True, False)
    assert slab.area_ang2 == pytest.approx(np.linalg.norm(np.cross(run.lattice[0], run.lattice[1])))
