"""Costs grow with size and protocol, requests keep to the limits, and each job of a flow is told its worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.vocabulary import Candidate, Region
from surfshift.workflows.costs import candidate_cost, valence_electrons
from surfshift.workflows.flows import CandidateMaker, RelaxMaker, SiteMaker
from surfshift.workflows.hpc.estimate import dft_request, estimate_study
from surfshift.workflows.hpc.place import place_candidate
from surfshift.workflows.hpc.templates import write_workers
from surfshift.workflows.hpc.workers import load_workers
from surfshift.workflows.study import DftSettings, StudyFile

if TYPE_CHECKING:
    from pathlib import Path

    from surfshift.workflows.hpc.workers import WorkersFile


@pytest.fixture(scope="module")
def berlinite() -> Candidate:
    structure = build_crystal(load_crystal("AlPO4_berlinite"))
    return Candidate(
        name="berlinite", kind="bulk", structure=structure, parent="x", regions=(Region.BULK,) * len(structure)
    )


def study(**nmr: object) -> StudyFile:
    return StudyFile.model_validate(
        {
            "study": "s",
            "crystal": "AlPO4_berlinite",
            "relax": {"dft": {"engine": "cp2k", "protocol": "fast"}},
            "nmr": {"isotopes": ["27Al", "31P"], **nmr},
        }
    )


def workers(folder: Path, **values: str) -> WorkersFile:
    given = {"work_dir": "/scratch/me", "python": "/opt/bin/python", "max_hours": "6", "account": "abc", **values}
    write_workers("slurm", given, folder / "workers.yaml")
    return load_workers(folder / "workers.yaml")


def test_costs_grow_with_the_protocol_and_are_of_the_right_size(berlinite: Candidate, tmp_path: Path) -> None:
    file = workers(tmp_path)
    assert valence_electrons(berlinite.structure) == 3 * (3 + 5 + 4 * 6)
    fast = {cost.step: cost for cost in estimate_study(study(), [berlinite], file)}
    balanced = {cost.step: cost for cost in estimate_study(study(protocol="balanced"), [berlinite], file)}
    assert list(fast) == ["relax", "dft", "nmr"]
    assert fast["nmr"].n_jobs == 2
    # one 31P site of berlinite took 27 s of processor time
    assert 15.0 < 3600 * fast["nmr"].core_hours / 2 < 60.0
    assert balanced["nmr"].core_hours > 1.4 * fast["nmr"].core_hours
    cost = candidate_cost(berlinite, study())  # one law serves plans and schedulers
    assert fast["nmr"].core_hours == pytest.approx(cost.nmr_cpu_seconds / 3600)
    assert fast["relax"].core_hours == pytest.approx(cost.relax_cpu_seconds / 3600)
    for cost in fast.values():
        assert cost.request.hours <= 6
        assert cost.max_charged_core_hours >= cost.core_hours


def test_a_larger_cell_costs_more_and_gets_more_cores(berlinite: Candidate, tmp_path: Path) -> None:
    limits = workers(tmp_path).placement.limits
    large = berlinite.structure.to_pymatgen().make_supercell((2, 2, 1))
    big = berlinite.model_copy(
        update={"structure": type(berlinite.structure).from_pymatgen(large), "regions": (Region.BULK,) * 72}
    )
    one, request = dft_request(big, DftSettings(engine="cp2k", protocol="fast"), limits)
    other, smaller = dft_request(big, DftSettings(engine="pw", protocol="fast"), limits)
    # 72 atoms: 9.2 core seconds per cycle and k-point, 14 cycles, 40 steps; 3 x 3 points, half of them by time reversal
    assert one == pytest.approx(9.2 * 14 * 40 / 3600 * 5, rel=0.02)
    assert other > 0.5 * one  # its mesh of 2 x 2 has fewer points
    assert request.cores >= 18
    assert smaller.cores <= limits.cores_per_node * limits.max_nodes


def test_every_job_is_told_its_worker(berlinite: Candidate, tmp_path: Path) -> None:
    settings = study()
    maker = CandidateMaker(relax_maker=RelaxMaker(settings=settings.relax), site_maker=SiteMaker(settings=settings.nmr))
    flow = maker.make(berlinite)
    place_candidate(flow, berlinite, settings, workers(tmp_path))
    relax, dft, plan = flow.jobs
    assert [job.name for job in flow.jobs] == ["relax berlinite", "relax cp2k berlinite", "plan sites berlinite"]
    assert relax.config.manager_config == {"worker": "cluster-pilot"}
    assert dft.config.manager_config["worker"] == "cluster"
    assert dft.config.manager_config["resources"]["account"] == "abc"
    assert plan.config.manager_config == {"worker": "local"}
    assert plan.config.response_manager_config == {"worker": "cluster-pilot"}
    assert plan.input_uuids == (dft.uuid,)


def test_a_study_without_dft_keeps_its_hash() -> None:
    """Run folders of earlier versions still fit: the new keys count only when they are used."""
    plain = StudyFile.model_validate({"study": "s", "crystal": "AlPO4_berlinite", "nmr": {"isotopes": ["31P"]}})
    dumped = plain.model_dump(mode="json", include={"relax"})["relax"]
    assert dumped["dft"] == []
    on_cluster = plain.model_copy(update={"run": plain.run.model_copy(update={"parallel_jobs": 5})})
    assert plain.job_hash == on_cluster.job_hash
    chained = plain.model_copy(update={"relax": study().relax})
    assert chained.job_hash != plain.job_hash
