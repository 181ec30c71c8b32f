"""Tensors and lines survive the way through objects of other programs; conventions are those of the other program."""

from __future__ import annotations

import io
import math

import ase.io
import numpy as np
import pytest
from surfshift.analysis.constants import isotope, larmor_mhz
from surfshift.analysis.exchange import (
    ExchangeError,
    from_mrsimulator,
    from_soprano,
    simpson_input,
    to_mrsimulator,
    to_soprano,
)
from surfshift.analysis.lines import shape
from surfshift.analysis.tensor_files import magres_text, tensors_of_sites
from surfshift.analysis.tensors import second_order_shift_ppm
from surfshift.analysis.vocabulary import Method, PredictedSite, SiteTensors
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.symmetry import distinct_sites
from surfshift.structures.vocabulary import Region

METHOD = Method(engine="castep", engine_version="1", functional="pbe", protocol="p", protocol_hash="h")


def random_sites(elements: set[str]) -> tuple[object, tuple[SiteTensors, ...]]:
    rng = np.random.default_rng(1)
    structure = build_crystal(load_crystal("AlPO4_berlinite"))
    sites = []
    for site in distinct_sites(structure):
        if site.element in elements:
            n = len(site.atom_indices)
            shielding, efg = rng.normal(300, 20, (n, 3, 3)), rng.normal(0, 0.1, (n, 3, 3))
            efg = efg + efg.transpose(0, 2, 1)
            efg -= np.trace(efg, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
            sites.append(
                SiteTensors(
                    structure_id=structure.content_id,
                    element=site.element,
                    atom_indices=site.atom_indices,
                    shielding_ppm=tuple(tuple(map(tuple, t)) for t in shielding.tolist()),
                    efg_au=tuple(tuple(map(tuple, t)) for t in efg.tolist()),
                    method=METHOD,
                )
            )
    return structure, tuple(sites)


def predicted(**changes: object) -> PredictedSite:
    values = {
        "candidate_id": "c",
        "candidate_name": "one",
        "isotope": "27Al",
        "atom_indices": (0, 1),
        "region": Region.BULK,
        "sigma_iso_ppm": 500.0,
        "delta_iso_ppm": 44.5,
        "delta_error_ppm": 1.0,
        "zeta_csa_ppm": 12.0,
        "eta_csa": 0.3,
        "cq_mhz": 4.1,
        "cq_error_mhz": 0.1,
        "eta_q": 0.37,
    }
    return PredictedSite.model_validate(values | changes)


def test_atoms_are_those_that_ase_reads_from_magres() -> None:
    structure, sites = random_sites({"Al", "P", "O"})
    atoms = to_soprano(structure, sites)
    read = ase.io.read(io.StringIO(magres_text(tensors_of_sites(structure, sites))), format="magres")
    np.testing.assert_allclose(atoms.get_array("ms"), read.get_array("ms"), atol=1e-8)
    np.testing.assert_allclose(atoms.get_array("efg"), read.get_array("efg"), atol=1e-8)
    np.testing.assert_allclose(atoms.positions, read.positions, atol=1e-8)


def test_tensors_survive_the_way_through_soprano_with_their_antisymmetric_part() -> None:
    structure, sites = random_sites({"Al"})
    atoms = to_soprano(structure, sites)
    assert np.isnan(atoms.get_array("ms")).any(axis=(1, 2)).sum() == len(structure) - 3
    back = from_soprano(atoms, engine="castep", functional="pbe")
    (site,) = sites
    for atom, sigma, efg in zip(site.atom_indices, site.shielding_ppm, site.efg_au, strict=True):
        np.testing.assert_allclose(np.array(back.shielding_ppm[atom]), np.array(sigma), atol=1e-10)
        np.testing.assert_allclose(np.array(back.efg_au[atom]), np.array(efg), atol=1e-10)
    assert [t is None for t in back.shielding_ppm].count(False) == 3
    with pytest.raises(ExchangeError, match="neither"):
        from_soprano(structure.to_ase())


def test_mrsimulator_draws_the_line_that_is_predicted() -> None:
    """The centre of gravity of what mrsimulator simulates lies at shift plus second-order shift, another formula."""
    from mrsimulator import Simulator
    from mrsimulator.method import SpectralDimension
    from mrsimulator.method.lib import BlochDecayCTSpectrum

    site = predicted(zeta_csa_ppm=0.0, eta_csa=0.0)
    (system,) = to_mrsimulator([site])
    width = 200.0 * larmor_mhz(isotope("27Al"), 9.4)
    method = BlochDecayCTSpectrum(
        channels=["27Al"],
        magnetic_flux_density=9.4,
        rotor_frequency=math.inf,
        spectral_dimensions=[SpectralDimension(count=4096, spectral_width=width)],
    )
    simulator = Simulator(spin_systems=[system], methods=[method])
    simulator.run()
    result = simulator.methods[0].simulation
    axis, line = result.x[0].coordinates.value, result.y[0].components[0].real
    larmor = larmor_mhz(isotope("27Al"), 9.4)
    shift = second_order_shift_ppm(isotope("27Al"), cq_mhz=4.1, eta=0.37, larmor_mhz=larmor)
    assert axis @ line / line.sum() == pytest.approx(44.5 + shift, abs=0.15)
    unit = shape("27Al", field_tesla=9.4, cq_mhz=4.1, eta_q=0.37)
    assert unit.centre_of_gravity_ppm == pytest.approx(shift, abs=0.05)


def test_the_sign_of_the_anisotropy_is_that_of_shielding_in_mrsimulator() -> None:
    (system,) = to_mrsimulator([predicted(isotope="31P", cq_mhz=0.0)])
    assert system.sites[0].shielding_symmetric.zeta == pytest.approx(-12.0)
    assert system.sites[0].quadrupolar is None


def test_fitted_spin_systems_become_measured_peaks() -> None:
    sites = [predicted(), predicted(atom_indices=(2, 3, 4, 5, 6, 7), delta_iso_ppm=10.0, cq_mhz=-2.0)]
    peaks = from_mrsimulator(to_mrsimulator(sites), field_tesla=9.4, mas_rate_hz=12500, delta_error_ppm=0.5)
    assert peaks.isotope == "27Al"
    assert [p.delta_iso_ppm for p in peaks.peaks] == [44.5, 10.0]
    assert [p.cq_mhz for p in peaks.peaks] == pytest.approx([4.1, 2.0])
    assert [p.area for p in peaks.peaks] == pytest.approx([25.0, 75.0])
    with pytest.raises(ExchangeError, match="one isotope"):
        from_mrsimulator(to_mrsimulator([predicted(), predicted(isotope="31P")]), field_tesla=9.4, delta_error_ppm=1)
    with pytest.raises(ExchangeError, match="none"):
        from_mrsimulator([], field_tesla=9.4, delta_error_ppm=1)


def test_simpson_input_is_balanced_and_states_the_site() -> None:
    text = simpson_input(predicted(candidate_name="a}; exec rm {"), field_tesla=9.4, mas_rate_hz=12500)
    assert text.count("{") == text.count("}")
    assert "shift 1 44.5000p 12.0000p 0.3000 0 0 0" in text
    assert "quadrupole 1 2 4100000.0 0.3700 0 0 0" in text
    assert "detect_operator  I1c" in text
    assert "exec rm {" not in text
    frequency = float(text.split("proton_frequency")[1].split()[0])
    assert frequency == pytest.approx(400.2e6, rel=1e-3)
    assert "quadrupole" not in simpson_input(predicted(isotope="31P", cq_mhz=0.0), field_tesla=9.4, mas_rate_hz=10000)
    with pytest.raises(ExchangeError, match="above 0"):
        simpson_input(predicted(), field_tesla=9.4, mas_rate_hz=0)
