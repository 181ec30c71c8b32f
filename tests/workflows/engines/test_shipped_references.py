"""The shipped reference libraries fit the shipped protocols and the structures they were computed for."""

import numpy as np
import pytest
from surfshift.analysis.constants import isotope
from surfshift.analysis.references import (
    ReferenceLibrary,
    available_libraries,
    load_reference,
    published_shifts,
    rmse_ppm,
)
from surfshift.analysis.tensors import quadrupole
from surfshift.workflows.engines.cluster import method_of
from surfshift.workflows.engines.protocols import load_protocol

LIBRARIES = {library.method.protocol: library for library in available_libraries()}


def test_the_demo_s_protocol_has_its_references() -> None:
    method = method_of(load_protocol("fast"))
    for name in ("1H", "27Al", "31P"):
        assert load_reference(name, method).method.key == method.key


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES.keys())
def test_protocol_was_not_changed_since(library: ReferenceLibrary) -> None:
    assert library.method.protocol_hash == load_protocol(library.method.protocol).hash


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES.keys())
@pytest.mark.parametrize(("name", "largest_rmse_ppm"), [("1H", 0.5), ("31P", 2.0), ("27Al", 5.0)])
def test_fit_is_as_good_as_documented(library: ReferenceLibrary, name: str, largest_rmse_ppm: float) -> None:
    reference = library.reference(name)
    assert -1.1 < reference.slope < -0.75
    assert rmse_ppm(reference) < largest_rmse_ppm
    assert reference.site_error_ppm > rmse_ppm(reference)


def test_berlinite_s_quadrupolar_coupling_is_the_measured_one() -> None:
    (berlinite,) = [c for c in LIBRARIES["fast"].compounds if c.structure_name == "AlPO4_berlinite"]
    (aluminium,) = [site for site in berlinite.sites if site.element == "Al"]
    published = next(s for s in published_shifts() if s.compound == "AlPO4 berlinite" and s.isotope == "27Al")
    own = quadrupole(np.array(aluminium.efg_au[0]), isotope("27Al"))
    assert abs(own.cq_mhz) == pytest.approx(published.cq_mhz, abs=0.2)
    assert own.eta == pytest.approx(published.eta_q, abs=0.1)
