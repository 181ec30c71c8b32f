import itertools

import numpy as np
import pytest
from surfshift.analysis.prediction import PredictionError, distance_to_hydrogen, predict_sites
from surfshift.analysis.references import MixedMethodsError
from surfshift.analysis.vocabulary import Method, MotionAverage, Reference, SiteTensors
from surfshift.structures.vocabulary import AtomicStructure, Candidate, Region, as_tensor3

METHOD = Method(engine="cluster", engine_version="1", functional="PBE", protocol="fast", protocol_hash="x")
CELL = ((8.0, 0.0, 0.0), (-3.0, 7.0, 0.0), (1.0, 2.0, 20.0))


def structure(periodic=(True, True, False)):
    return AtomicStructure(
        lattice_ang=CELL,
        elements=("Al", "P", "O", "H", "H"),
        frac_coords=((0.1, 0.1, 0.1), (0.5, 0.5, 0.2), (0.3, 0.3, 0.15), (0.95, 0.9, 0.3), (0.4, 0.45, 0.9)),
        oxidation_states=(3.0, 5.0, -2.0, 1.0, 1.0),
        periodic=periodic,
    )


def candidate():
    return Candidate(
        name="slab",
        kind="slab",
        structure=structure(),
        parent="bulk",
        miller=(0, 0, 1),
        regions=(Region.SURFACE, Region.BULK, Region.SURFACE, Region.ADSORBATE, Region.ADSORBATE),
    )


def reference(isotope="27Al", method=METHOD):
    return Reference(
        isotope=isotope,
        method=method,
        slope=-0.9,
        intercept_ppm=500.0,
        covariance=((0.01, 0.0), (0.0, 1.0)),
        sigma_mean_ppm=500.0,
        site_error_ppm=2.0,
        compounds=(),
    )


def tensors(element="Al", atoms=(0,), method=METHOD, structure_id=None):
    shielding = as_tensor3(np.diag([500.0, 510.0, 550.0]).tolist())
    efg = as_tensor3(np.diag([-0.03, -0.07, 0.10]).tolist())
    return SiteTensors(
        structure_id=structure_id or structure().content_id,
        element=element,
        atom_indices=atoms,
        shielding_ppm=(shielding,) * len(atoms),
        efg_au=(efg,) * len(atoms),
        method=method,
    )


def test_prediction_of_a_site():
    (site,) = predict_sites(candidate(), [tensors(), tensors("P", (1,))], {"27Al": reference()}, ["27Al"])
    assert site.delta_iso_ppm == pytest.approx(500.0 - 0.9 * 520.0)
    assert site.zeta_csa_ppm == pytest.approx(-0.9 * 30.0)
    assert site.cq_mhz == pytest.approx(234.9648 * 0.1466 * 0.10)
    assert site.eta_q == pytest.approx(0.4)
    assert site.region is Region.SURFACE
    assert site.delta_error_ppm == 2.0
    # 10 % and the absolute floor of 0.34 MHz
    assert site.cq_error_mhz == pytest.approx(np.hypot(0.344, 0.344), abs=0.01)


@pytest.mark.parametrize("periodic", list(itertools.product([True, False], repeat=3)))
def test_distance_to_hydrogen_against_all_images(periodic):
    made = structure(periodic)
    images = np.array(list(itertools.product(*[range(-3, 4) if p else [0] for p in periodic])), dtype=float)
    for atom in range(5):
        best = np.inf
        for h in (3, 4):
            difference = np.array(made.frac_coords[h]) - np.array(made.frac_coords[atom]) + images
            lengths = np.linalg.norm(difference @ made.lattice, axis=1)
            best = min(best, lengths[lengths > 1e-6].min(initial=np.inf))
        assert distance_to_hydrogen(made, atom) == pytest.approx(best)


def test_no_hydrogen_no_distance():
    made = structure().model_copy(update={"elements": ("Al", "P", "O", "O", "O")})
    assert distance_to_hydrogen(made, 0) is None


def test_a_foreign_method_is_refused():
    other = METHOD.model_copy(update={"protocol_hash": "y"})
    with pytest.raises(MixedMethodsError, match="same method"):
        predict_sites(candidate(), [tensors(method=other)], {"27Al": reference()}, ["27Al"])


def test_tensors_of_another_structure_or_atom_are_refused():
    with pytest.raises(PredictionError, match="this very structure"):
        predict_sites(candidate(), [tensors(structure_id="z")], {"27Al": reference()}, ["27Al"])
    with pytest.raises(PredictionError, match="not Al atoms"):
        predict_sites(candidate(), [tensors(atoms=(0, 1))], {"27Al": reference()}, ["27Al"])


def test_an_isotope_without_a_reference_is_refused():
    with pytest.raises(PredictionError, match="no reference for 31P"):
        predict_sites(candidate(), [tensors("P", (1,))], {"27Al": reference()}, ["31P"])
    with pytest.raises(PredictionError, match="one for 27Al"):
        predict_sites(candidate(), [tensors("P", (1,))], {"31P": reference()}, ["31P"])


def test_isotopes_that_the_candidate_lacks_are_passed_over():
    assert predict_sites(candidate(), [tensors()], {}, ["31P"]) == ()


@pytest.mark.parametrize(
    ("shift_from", "delta_error_ppm"), [("rest", 2.0), ("average", float(np.hypot(2.0, 0.9 * 3.0)))]
)
def test_standard_errors_of_averages_over_motion_add_to_those_of_the_method(shift_from, delta_error_ppm):
    resting = tensors()
    motion = MotionAverage(
        source="molecular dynamics",
        temperature_k=300.0,
        n_snapshots=8,
        sigma_iso_ppm=523.0,
        sigma_iso_error_ppm=3.0,
        rest_sigma_iso_ppm=520.0,
        cq_mhz=3.4,
        cq_error_mhz=0.7,
        rest_cq_mhz=3.4,
        shift_from=shift_from,
    )
    (plain,) = predict_sites(candidate(), [resting], {"27Al": reference()}, ["27Al"])
    moving = resting.model_copy(update={"motion": motion})
    (site,) = predict_sites(candidate(), [moving], {"27Al": reference()}, ["27Al"])
    assert plain.delta_error_ppm == pytest.approx(2.0)
    assert site.delta_error_ppm == pytest.approx(delta_error_ppm)
    assert site.cq_error_mhz == pytest.approx(np.hypot(plain.cq_error_mhz, 0.7))
    assert SiteTensors.model_validate_json(moving.model_dump_json()) == moving
