"""The engine as a whole, on small real clusters."""

from __future__ import annotations

import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from surfshift.analysis.vocabulary import SiteTensors
from surfshift.structures.symmetry import SiteOrbit, distinct_sites
from surfshift.structures.vocabulary import AtomicStructure, as_tensor3
from surfshift.workflows.engines.cluster import check_target, compute_site, method_of
from surfshift.workflows.engines.errors import (
    EngineError,
    ScfNotConvergedError,
    SmallGapError,
    UnsupportedEnvironmentError,
    UnsupportedTargetError,
    WrongElectronCountError,
)

if TYPE_CHECKING:
    from surfshift.workflows.engines.protocols import ClusterProtocol

UNIT = as_tensor3(np.eye(3))


def _alone(structure: AtomicStructure, atom: int) -> SiteOrbit:
    return SiteOrbit(element=structure.elements[atom], atom_indices=(atom,), rotations=(UNIT,))


@pytest.fixture(scope="module")
def phosphorus(berlinite: AtomicStructure, small_protocol: ClusterProtocol) -> SiteTensors:
    return compute_site(berlinite, distinct_sites(berlinite, elements=["P"])[0], small_protocol)


def test_checks_and_provenance_are_there(phosphorus: SiteTensors, small_protocol: ClusterProtocol) -> None:
    assert phosphorus.method == method_of(small_protocol)
    assert phosphorus.checks["n_electrons"] == 50
    assert phosphorus.checks["gap_ev"] > 1
    assert phosphorus.checks["cap_rescaling"] == pytest.approx(1.0, abs=0.02)
    assert phosphorus.cpu_seconds > 0
    assert SiteTensors.model_validate_json(phosphorus.model_dump_json()) == phosphorus


def test_equivalent_sites_computed_apart_agree_with_the_expanded_tensor(
    berlinite: AtomicStructure, phosphorus: SiteTensors, small_protocol: ClusterProtocol
) -> None:
    for k, atom in enumerate(phosphorus.atom_indices[1:], start=1):
        own = compute_site(berlinite, _alone(berlinite, atom), small_protocol)
        assert np.array(own.shielding_ppm[0]) == pytest.approx(np.array(phosphorus.shielding_ppm[k]), abs=0.02)
        assert np.array(own.efg_au[0]) == pytest.approx(np.array(phosphorus.efg_au[k]), abs=2e-4)


def test_rotating_the_crystal_rotates_the_tensors(
    berlinite: AtomicStructure, phosphorus: SiteTensors, small_protocol: ClusterProtocol
) -> None:
    turn = Rotation.from_euler("xyz", [0.7, 0.2, -1.9]).as_matrix()
    turned = berlinite.model_copy(update={"lattice_ang": as_tensor3(berlinite.lattice @ turn.T)})
    own = compute_site(turned, _alone(turned, phosphorus.atom_indices[0]), small_protocol)
    here, there = np.array(phosphorus.shielding_ppm[0]), np.array(own.shielding_ppm[0])
    assert np.linalg.eigvalsh(there + there.T) / 2 == pytest.approx(np.linalg.eigvalsh(here + here.T) / 2, abs=0.005)
    assert turn.T @ there @ turn == pytest.approx(here, abs=0.005)


def test_unsupported_target_is_named() -> None:
    with pytest.raises(UnsupportedTargetError, match=r"La is not supported.*take its isotopes out"):
        check_target("La")


def test_open_shell_ions_are_refused(berlinite: AtomicStructure, small_protocol: ClusterProtocol) -> None:
    states = tuple({"P": 4.0, "Al": 4.0}.get(e, -2.0) for e in berlinite.elements)
    odd = berlinite.model_copy(update={"oxidation_states": states})
    with pytest.raises(WrongElectronCountError, match="oxidation states"):
        compute_site(odd, _alone(odd, odd.elements.index("P")), small_protocol)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"max_scf_cycles": 2}, ScfNotConvergedError),
        ({"min_gap_ev": 50.0}, SmallGapError),
        ({"functional": "pbe0"}, UnsupportedEnvironmentError),
        ({"outer_basis": "no-such-basis", "cap_basis": "no-such-basis"}, UnsupportedEnvironmentError),
    ],
)
def test_wrong_results_are_refused_by_name(
    berlinite: AtomicStructure,
    small_protocol: ClusterProtocol,
    change: dict[str, object],
    error: type[EngineError],
) -> None:
    protocol = small_protocol.model_copy(update=change)
    with pytest.raises(error):
        compute_site(berlinite, _alone(berlinite, berlinite.elements.index("P")), protocol)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="an option of glibc")
def test_memory_of_large_arrays_is_used_again() -> None:
    script = """
import resource, sys
import numpy as np
from surfshift.workflows.engines.cluster import _keep_freed_memory
if sys.argv[1] == "keep":
    _keep_freed_memory()
for turn in range(11):
    if turn == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(8_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = {
        how: int(subprocess.run([sys.executable, "-c", script, how], check=True, capture_output=True).stdout)
        for how in ("keep", "give back")
    }
    assert faults["keep"] < 0.1 * faults["give back"]
