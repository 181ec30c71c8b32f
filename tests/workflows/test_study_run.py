"""From submission to result through the real queue, with real potentials and DFT on one water molecule."""

from pathlib import Path

import numpy as np
import pytest
from surfshift.analysis.references import available_libraries
from surfshift.analysis.vocabulary import Peak, PeakList, StudyResult
from surfshift.structures.vocabulary import AtomicStructure, Candidate, Region, as_tensor3
from surfshift.workflows.adaptive import first_settings
from surfshift.workflows.averages import write_averages
from surfshift.workflows.candidates import Inputs, StudyContentError, always_present_ids, build_candidates
from surfshift.workflows.collect import collect, start_state, write_results
from surfshift.workflows.finite_temperature import AveragedSite
from surfshift.workflows.flows import CandidateMaker, RelaxMaker, SiteMaker, StudyMaker
from surfshift.workflows.progress import clock, summary
from surfshift.workflows.queue.folder import RunFolder
from surfshift.workflows.queue.records import JobStatus, snapshot
from surfshift.workflows.queue.runner import run_jobs
from surfshift.workflows.queue.store import close_clients
from surfshift.workflows.stages import add_jobs, is_adaptive, next_jobs, set_adaptive
from surfshift.workflows.study import MatchSettings, NmrSettings, RelaxSettings, StudyFile, load_study
from surfshift.workflows.study_run import check_fits, move_aside, run_folder, start

STUDY = """\
study: small
crystal: AlPO4_berlinite
relax: {model: 7net-0, relax_bulk_positions: false}
nmr:
  isotopes: [27Al, 31P]
"""


@pytest.fixture
def study_path(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY, encoding="utf-8")
    return path


def water() -> Candidate:
    along, across = 0.96 * np.cos(np.radians(52.25)), 0.96 * np.sin(np.radians(52.25))
    positions = np.array([[0, 0, 0], [along, across, 0], [along, -across, 0]]) + 4.5
    made = AtomicStructure(
        lattice_ang=as_tensor3(np.eye(3) * 9.0),
        elements=("O", "H", "H"),
        frac_coords=tuple(tuple(row) for row in (positions / 9.0).tolist()),
        oxidation_states=(-2.0, 1.0, 1.0),
    )
    return Candidate(name="water", kind="bulk", structure=made, parent="water", regions=(Region.ADSORBATE,) * 3)


def test_a_study_is_submitted_checked_reported_early_and_moved_aside(study_path: Path) -> None:
    study = load_study(study_path)
    run = run_folder(study, study_path)
    assert run.path == study_path.parent / "small-run"
    said: list[str] = []
    start(run, study, study_path, say=said.append)
    assert said == ["1 candidates: AlPO4_berlinite"]
    assert run.is_submitted
    assert (run.path / "study.yaml").read_text(encoding="utf-8") == STUDY
    check_fits(run, study)
    now = snapshot(run.controller())
    assert [job.name for job in now.jobs] == ["relax AlPO4_berlinite", "plan sites AlPO4_berlinite"]
    assert summary(now) == "0 done, 0 running, 2 left"
    early = collect(run, study, Inputs((), {}, ()), now)
    assert early.relaxations == ()
    assert early.assignment is None
    assert early.failures == ("2 jobs have not run yet; go on with 'surfshift resume'",)
    aside = move_aside(run)
    assert aside is not None
    assert RunFolder(aside).is_submitted
    assert not run.path.exists()
    assert move_aside(run) is None


def test_outputs_of_real_jobs_become_a_result(tmp_path: Path, study_path: Path) -> None:
    study = StudyFile(
        study="water",
        crystal="AlPO4_berlinite",
        relax=RelaxSettings(model="7net-0", relax_bulk_positions=False),
        nmr=NmrSettings(isotopes=("1H",)),
    )
    run = RunFolder(tmp_path / "water run")
    run.write_project(parallel_jobs=1)
    maker = CandidateMaker(
        relax_maker=RelaxMaker(settings=study.relax), site_maker=SiteMaker(settings=study.nmr, max_memory_mb=1000)
    )
    run.submit(StudyMaker(name="water", candidate_maker=maker).make([water()]), start_state(study, study_path))
    last = run_jobs(run, parallel_jobs=1)
    assert last.count(JobStatus.DONE) == len(last.jobs) == 3, [job.reason for job in last.jobs]
    result = collect(run, study, Inputs((), {}, ("1H: tensors only",)), last)
    assert result.failures == ()
    (relaxation,) = result.relaxations
    assert relaxation.candidate == water()
    ((site,),) = result.tensors.values()
    assert site.atom_indices == (1, 2)
    assert site.sigma_iso_ppm == pytest.approx(30.05, abs=2.0)
    assert result.provenance["note 1"] == "1H: tensors only"
    assert result.provenance["NMR method"].startswith("cluster/pbe/fast/")
    assert StudyResult.model_validate_json(result.model_dump_json()) == result
    close_clients(run.queue)


@pytest.mark.slow
def test_a_study_averages_over_motion_what_it_is_asked_to(tmp_path: Path, study_path: Path) -> None:
    """SevenNet moves one molecule; the averages are in the result, and a candidate without them is left out."""
    study = StudyFile.model_validate(
        {
            "study": "water",
            "crystal": "AlPO4_berlinite",
            "relax": {"model": "7net-0", "fmax_ev_per_ang": 0.05},
            "nmr": {"isotopes": ["17O"]},
            "motion": {
                "n_snapshots": 4,
                "dynamics": {"timestep_fs": 0.5, "equilibration_steps": 20, "steps": 400, "friction_per_fs": 0.05},
            },
            "run": {"parallel_jobs": 1},
        }
    )
    run = RunFolder(tmp_path / "moving")
    run.write_project(parallel_jobs=1)
    maker = CandidateMaker(
        relax_maker=RelaxMaker(settings=study.relax),
        site_maker=SiteMaker(
            settings=study.nmr, max_memory_mb=1000, motion=study.motion, motion_model=study.relax.model
        ),
    )
    run.submit(StudyMaker(name="water", candidate_maker=maker).make([water()]), start_state(study, study_path))
    inputs = Inputs((), {}, ())
    last = run_jobs(run, parallel_jobs=1)
    assert [job.reason for job in last.of(JobStatus.FAILED)] == []
    result = collect(run, study, inputs, last)
    assert result.failures == ()
    ((site,),) = result.tensors.values()
    motion = site.motion
    assert motion is not None
    assert motion.n_snapshots == 4
    assert motion.sigma_iso_error_ppm > 0
    assert motion.sigma_iso_ppm != pytest.approx(motion.rest_sigma_iso_ppm, abs=0.01)
    assert site.sigma_iso_ppm == pytest.approx(motion.rest_sigma_iso_ppm)
    assert motion.rest_cq_mhz > 5.0
    written = write_averages(run, study)
    assert [path.name for path in written] == ["water-17O-O0.json", "water-17O-O0.png"]
    assert AveragedSite.model_validate_json(written[0].read_text(encoding="utf-8")).isotope == "17O"
    page = write_results(run, result).read_text(encoding="utf-8")
    assert "Sites averaged over motion" in page
    # an average that is missing is told, and the candidate takes no part in the matching
    (average,) = (job for job in last.jobs if job.name.startswith("average"))
    run.controller().jobs.update_one({"uuid": average.uuid}, {"$set": {"state": "FAILED"}})
    told = collect(run, study, inputs, snapshot(run.controller())).failures
    assert any("its averages over motion of O0 are missing" in line for line in told)
    close_clients(run.queue)


@pytest.mark.slow
def test_an_adaptive_run_stops_goes_on_and_can_be_completed(tmp_path: Path) -> None:
    """Two water molecules, one stretched by 8 %; only 1H is measured, so 17O is left out until asked for."""
    near = water()
    centre = np.array([4.5, 4.5, 4.5])
    stretched = near.structure.moved_to(centre + 1.08 * (near.structure.cart_coords - centre))
    far = near.model_copy(update={"name": "stretched", "structure": stretched})
    study = StudyFile.model_validate(
        {
            "study": "waters",
            "crystal": "AlPO4_berlinite",
            "relax": {"model": "7net-0", "relax_bulk_positions": False, "max_steps": 1},
            "nmr": {"isotopes": ["17O", "1H"]},
            "run": {"adaptive": True, "parallel_jobs": 1},
        }
    )
    study_path = tmp_path / "study.yaml"
    study_path.write_text(STUDY, encoding="utf-8")
    measured = PeakList(
        name="1H", isotope="1H", field_tesla=9.4, peaks=(Peak(label="H", delta_iso_ppm=0.5, delta_error_ppm=0.3),)
    )
    library = next(lib for lib in available_libraries() if lib.method.protocol == "fast")
    inputs = Inputs((measured,), {"1H": library.reference("1H")}, ())
    run = RunFolder(tmp_path / "waters")
    run.write_project(parallel_jobs=1)
    settings = first_settings(study, inputs.measurements, [near, far])
    assert settings.isotopes == ()
    maker = CandidateMaker(
        relax_maker=RelaxMaker(settings=study.relax), site_maker=SiteMaker(settings=settings, max_memory_mb=1000)
    )
    flow = StudyMaker(name="waters", candidate_maker=maker).make([near, far])
    run.submit(flow, start_state(study, study_path) | {"adaptive": True})
    first = run_jobs(run, parallel_jobs=1)
    batches = []
    while jobs := next_jobs(run, study, inputs, first, say=lambda _: None):
        batches.append([job.name for job in jobs])
        add_jobs(run, jobs)
        first = run_jobs(run, parallel_jobs=1)
    # one candidate opens, the other follows
    assert [[name.split()[1] for name in batch] for batch in batches] == [["1H"], ["1H"]]
    result = collect(run, study, inputs, first)
    assert result.assignment is not None
    assert result.failures == ()
    assert {site.element for own in result.tensors.values() for site in own} == {"H"}
    # everything that was left out, on request, and nothing twice
    set_adaptive(run, is_adaptive=False)
    assert not is_adaptive(run)
    rest = next_jobs(run, study, inputs, first, say=lambda _: None)
    assert sorted(job.name for job in rest) == ["nmr 17O stretched O0", "nmr 17O water O0"]
    add_jobs(run, rest)
    last = run_jobs(run, parallel_jobs=1)
    assert last.count(JobStatus.DONE) == len(last.jobs)
    assert next_jobs(run, study, inputs, last, say=lambda _: None) == []
    whole = collect(run, study, inputs, last)
    assert {site.element for own in whole.tensors.values() for site in own} == {"H", "O"}
    close_clients(run.queue)


def test_terminations_and_known_members_are_checked_by_name(tmp_path: Path) -> None:
    text = STUDY + "candidates:\n  surfaces:\n    - {miller: [0, 0, 1], thickness_ang: 6, keep: [no-such]}\n"
    path = tmp_path / "surface.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StudyContentError, match="has no termination 'no-such'"):
        build_candidates(load_study(path))
    path.write_text(text.replace("no-such", "t0"), encoding="utf-8")
    assert "t0" in build_candidates(load_study(path))[1].name


def test_fixed_bottom_holds_the_lower_half_of_a_slab_and_nothing_of_the_bulk(tmp_path: Path) -> None:
    text = STUDY + "candidates:\n  surfaces:\n    - {miller: [0, 0, 1], thickness_ang: 6}\n"
    path = tmp_path / "surface.yaml"
    path.write_text(text, encoding="utf-8")
    assert all(candidate.frozen_atoms == () for candidate in build_candidates(load_study(path)))
    path.write_text(text.replace("relax: {", "relax: {mode: fixed-bottom, "), encoding="utf-8")
    bulk, slab = build_candidates(load_study(path))[:2]
    assert bulk.frozen_atoms == ()
    heights = slab.structure.cart_coords[:, 2]
    held = set(slab.frozen_atoms)
    assert held == {i for i, height in enumerate(heights) if height - heights.min() <= 3.0}
    assert 0 < len(held) < len(heights)


def test_bulk_stands_for_every_bulk_candidate(study_path: Path) -> None:
    study = load_study(study_path)
    candidates = build_candidates(study)
    wanted = study.model_copy(update={"matching": MatchSettings(always_present=("bulk", "AlPO4_berlinite"))})
    assert always_present_ids(wanted, candidates) == (candidates[0].id,)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (185, "3 min 05 s"), (7620, "2 h 07 min"), (-1, "0 s")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
