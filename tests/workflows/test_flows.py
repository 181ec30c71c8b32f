"""Makers and jobs: what is planned, by which names, and that every output comes back from JSON as it was."""

import numpy as np
import pytest
from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore
from monty.json import MontyDecoder, jsanitize
from surfshift.analysis.vocabulary import Method, Relaxation, SiteTensors
from surfshift.structures.symmetry import distinct_sites
from surfshift.structures.vocabulary import AtomicStructure, Candidate, Region, as_tensor3
from surfshift.workflows.flows import CandidateMaker, StudyMaker
from surfshift.workflows.jobs import plan_sites, wanted_sites
from surfshift.workflows.study import NmrSettings, RelaxSettings

NMR = NmrSettings(isotopes=("31P", "27Al"), sites="surface")


def candidate(kind: str = "slab") -> Candidate:
    """Three layers of AlP-like zinc blende along c; the middle one is bulk."""
    made = AtomicStructure(
        lattice_ang=((4.0, 0, 0), (0, 4.0, 0), (0, 0, 20.0)),
        elements=("Al", "P", "Al", "P", "Al", "O"),
        frac_coords=((0, 0, 0.1), (0.5, 0.5, 0.2), (0, 0, 0.3), (0.5, 0.5, 0.41), (0, 0, 0.5), (0.1, 0.2, 0.6)),
        oxidation_states=(3.0, -3.0, 3.0, -3.0, 3.0, -2.0),
    )
    regions = (Region.SURFACE, Region.SUBSURFACE, Region.BULK, Region.SUBSURFACE, Region.SURFACE, Region.ADSORBATE)
    return Candidate(
        name="AlP(001)-t0",
        kind="slab" if kind == "slab" else "bulk",
        structure=made,
        parent="AlP",
        miller=(0, 0, 1) if kind == "slab" else None,
        regions=regions if kind == "slab" else (Region.BULK,) * 6,
    )


def relaxation(of: Candidate) -> Relaxation:
    return Relaxation(
        start_id="start",
        candidate=of,
        energy_ev=-1.5,
        max_force_ev_per_ang=0.01,
        n_steps=3,
        is_converged=True,
        model="m",
    )


def test_surface_sites_leave_out_the_bulk_region_of_slabs_only() -> None:
    slab, bulk = candidate(), candidate("bulk")
    assert [o.atom_indices[0] for o in wanted_sites(slab, NMR)] == [0, 1, 3, 4]
    assert [o.atom_indices[0] for o in wanted_sites(bulk, NMR)] == [0, 1, 2, 3, 4]
    everything = NMR.model_copy(update={"sites": "all"})
    assert [o.atom_indices[0] for o in wanted_sites(slab, everything)] == [0, 1, 2, 3, 4]


def test_a_plan_adds_one_readable_job_per_site() -> None:
    response = plan_sites.original(relaxation(candidate()), NMR, 2000)
    assert response.output == 4
    assert [job.name for job in response.addition.jobs] == [
        "nmr 27Al AlP(001)-t0 Al0",
        "nmr 31P AlP(001)-t0 P1",
        "nmr 31P AlP(001)-t0 P3",
        "nmr 27Al AlP(001)-t0 Al4",
    ]
    structure, orbit, protocol, memory = response.addition.jobs[1].function_args
    assert structure == candidate().structure
    assert orbit.atom_indices == (1,)
    assert (protocol, memory) == ("fast", 2000)


def test_a_candidate_without_wanted_sites_adds_nothing() -> None:
    response = plan_sites.original(relaxation(candidate()), NmrSettings(isotopes=("7Li",)), 2000)
    assert response.output == 0
    assert response.addition is None


def test_a_study_is_one_flow_of_independent_candidates() -> None:
    flow = StudyMaker(name="alpo4").make([candidate(), candidate("bulk")])
    assert isinstance(flow, Flow)
    assert flow.name == "alpo4"
    assert [job.name for part in flow.jobs for job in part.jobs] == [
        "relax AlP(001)-t0",
        "plan sites AlP(001)-t0",
    ] * 2
    relaxed, planned = flow.jobs[0].jobs
    assert planned.input_uuids == (relaxed.uuid,)


def test_job_arguments_survive_the_queue() -> None:
    flow = CandidateMaker().make(candidate())
    again = MontyDecoder().process_decoded(jsanitize(flow.jobs[0], strict=True, enum_values=True))
    assert tuple(again.function_args) == (candidate(), RelaxSettings())
    assert again.function.__module__ == "surfshift.workflows.jobs"


@pytest.mark.parametrize("kind", ["relaxation", "tensors"])
def test_outputs_come_back_from_json_as_they_were(kind: str) -> None:
    slab = candidate()
    orbit = distinct_sites(slab.structure, elements={"P"})[0]
    method = Method(engine="e", engine_version="1", functional="pbe", protocol="fast", protocol_hash="0")
    shielding = np.arange(9.0).reshape(3, 3) / 7
    output = (
        relaxation(slab)
        if kind == "relaxation"
        else SiteTensors(
            structure_id=slab.structure.content_id,
            element="P",
            atom_indices=orbit.atom_indices,
            shielding_ppm=orbit.expand(shielding),
            efg_au=(as_tensor3(np.diag([1.0, -0.3, -0.7])),),
            method=method,
            checks={"gap_ev": 5.5},
        )
    )
    stored = jsanitize(output, strict=True, enum_values=True)
    assert stored["@module"] == "surfshift.analysis.vocabulary"
    assert MontyDecoder().process_decoded(stored) == output


@pytest.mark.filterwarnings("ignore:Some jobs are not connected:UserWarning")  # sites do not depend on each other
def test_a_real_site_goes_through_plan_job_and_store() -> None:
    """One water molecule in a box: planned, computed by DFT and read back from the store."""
    half_angle, length, box = np.radians(104.5 / 2), 0.96, 9.0
    along, across = length * np.cos(half_angle), length * np.sin(half_angle)
    positions = np.array([[0, 0, 0], [along, across, 0], [along, -across, 0]]) + box / 2
    water = AtomicStructure(
        lattice_ang=as_tensor3(np.eye(3) * box),
        elements=("O", "H", "H"),
        frac_coords=tuple(tuple(row) for row in (positions / box).tolist()),
        oxidation_states=(-2.0, 1.0, 1.0),
    )
    molecule = Candidate(name="water", kind="bulk", structure=water, parent="water", regions=(Region.ADSORBATE,) * 3)
    store = JobStore(MemoryStore())
    planned = plan_sites(relaxation(molecule), NmrSettings(isotopes=("1H",)), 1000)
    outputs = run_locally(planned, store=store, ensure_success=True, log=False)
    tensors = [r[1].output for uuid, r in outputs.items() if uuid != planned.uuid]
    assert len(tensors) == 1
    # 1H in gaseous water: 30.05 ppm (Raynes, Mol. Phys. 33, 719 (1977)); PBE in a small basis comes near it
    assert tensors[0].sigma_iso_ppm == pytest.approx(30.05, abs=2.0)
    assert tensors[0].atom_indices == (1, 2)
    assert tensors[0].structure_id == water.content_id
