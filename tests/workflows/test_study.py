"""The study file: what is accepted, and how every mistake is told."""

import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from surfshift.analysis.given_phases import GivenPhaseError
from surfshift.analysis.measurements import MeasurementError
from surfshift.workflows.candidates import (
    StudyContentError,
    always_present_ids,
    build_candidates,
    partners_of,
    read_measurements,
)
from surfshift.workflows.jobs import moving_sites
from surfshift.workflows.study import StudyFile, load_study, phases_of
from surfshift.workflows.study_yaml import StudyError, dotted
from surfshift.workflows.template import TEMPLATE, write_template

SMALL = """\
study: small
crystal: AlPO4_berlinite
candidates:
  surfaces:
    - miller: [0, 0, 1]
      hydroxylation: [0, 0.5]
nmr:
  isotopes: [27Al, 31P]
"""


def study_file(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str) -> str:
    with pytest.raises(StudyError) as caught:
        load_study(study_file(folder, text))
    return str(caught.value)


def test_a_small_study_is_read_with_its_defaults(tmp_path: Path) -> None:
    study = load_study(study_file(tmp_path, SMALL))
    assert study.candidates.bulk
    assert study.candidates.surfaces[0].miller == (0, 0, 1)
    assert study.candidates.surfaces[0].hydroxylation == (0.0, 0.5)
    assert study.nmr.elements == {"Al", "P"}
    assert study.relax.model == "7net-l3i5"


def test_json_round_trip(tmp_path: Path) -> None:
    study = load_study(study_file(tmp_path, SMALL))
    assert StudyFile.model_validate_json(study.model_dump_json()) == study


def test_the_written_template_is_a_valid_study_with_the_stated_defaults(tmp_path: Path) -> None:
    write_template(tmp_path / "study.yaml")
    study = load_study(tmp_path / "study.yaml")
    assert study.relax == StudyFile(study="x", crystal="y", nmr=study.nmr).relax
    assert study.run == StudyFile(study="x", crystal="y", nmr=study.nmr).run
    assert study.nmr.protocol == "fast"


def test_the_template_never_overwrites(tmp_path: Path) -> None:
    path = study_file(tmp_path, SMALL)
    with pytest.raises(StudyError, match="exists and is not overwritten"):
        write_template(path)
    assert path.read_text(encoding="utf-8") == SMALL
    assert TEMPLATE != SMALL


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("miller", "miler", "line 5, candidates.surfaces[0].miler: unknown key, did you mean 'miller'?"),
        ("crystal", "cristal", "line 2, cristal: unknown key, did you mean 'crystal'?"),
        ("nmr:", "nmr:\n  protocol: fats", "line 8, nmr.protocol"),
        ("[0, 0, 1]", "[0, 0, 0]", "(0, 0, 0) is no facet"),
        ("[0, 0.5]", "[0, 1.5]", "line 6, candidates.surfaces[0].hydroxylation[1]"),
        ("31P", "P31", "line 8, nmr.isotopes[1]"),
        ("31P", "27Al", "listed twice"),
        ("study: small", "study: ../small", "line 1, study"),
        ("study: small", "study: small\nstudy: twice", "line 2: the key study is given twice (first in line 1)"),
        ("crystal: AlPO4_berlinite\n", "", "give either 'crystal: NAME' (library) or 'structure: FILE'"),
        ("crystal:", "structure: x.cif\ncrystal:", "exactly one of them"),
        ("crystal: AlPO4_berlinite", "structure: no.cif", "line 2, structure: the file"),
        ("nmr:", "nmr:\n  sites: surface", None),
        ("  surfaces:", "  bulk: false\n  surfaces:", None),
        ("crystal: AlPO4_berlinite", "crystal: [", "this is not valid YAML"),
        ("crystal: AlPO4_berlinite", "crystal: !!python/object:os.system {}", "this is not valid YAML"),
    ],
)
def test_mistakes_are_told_with_place_and_line(tmp_path: Path, old: str, new: str, told: str | None) -> None:
    text = SMALL.replace(old, new, 1)
    assert text != SMALL
    if told is None:
        load_study(study_file(tmp_path, text))
    else:
        assert told in problems(tmp_path, text)


def test_surface_sites_need_the_bulk_candidate(tmp_path: Path) -> None:
    text = SMALL.replace("nmr:", "nmr:\n  sites: surface").replace("  surfaces:", "  bulk: false\n  surfaces:")
    assert "set candidates.bulk: true" in problems(tmp_path, text)


@pytest.mark.parametrize("text", ["", "just words", "- a\n- b", "1: 2"])
def test_no_block_of_keys(tmp_path: Path, text: str) -> None:
    assert "holds no study" in problems(tmp_path, text)


def test_a_missing_study_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="surfshift init"):
        load_study(tmp_path / "none.yaml")


def test_binary_content_is_told(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StudyError, match="cannot be read"):
        load_study(path)


def test_measured_files_must_exist_and_belong_to_a_computed_isotope(tmp_path: Path) -> None:
    (tmp_path / "al.csv").write_text("delta_iso_ppm,delta_error_ppm\n40,1\n", encoding="utf-8")
    measured = "measured:\n  - {{peaks: {file}, isotope: {isotope}, field_tesla: 9.4}}\n"
    study = load_study(study_file(tmp_path, SMALL + measured.format(file="al.csv", isotope="27Al")))
    assert study.measured[0].path == (tmp_path / "al.csv").resolve()
    assert "line 10, measured[0].peaks: the file" in problems(
        tmp_path, SMALL + measured.format(file="no.csv", isotope="27Al")
    )
    assert "1H is measured but not in nmr.isotopes" in problems(
        tmp_path, SMALL + measured.format(file="al.csv", isotope="1H")
    )
    without_field = SMALL + "measured:\n  - {peaks: al.csv, isotope: 27Al}\n"
    assert "measured[0]: field_tesla: this key is required beside 'peaks'" in problems(tmp_path, without_field)
    both = SMALL + "measured:\n  - {peaks: al.csv, isotope: 27Al, field_tesla: 9.4, row: 1}\n"
    assert "row: this key belongs to 'spectrum'" in problems(tmp_path, both)


def test_a_spectrum_may_state_its_own_conditions(tmp_path: Path) -> None:
    from surfshift.workflows.candidates import StudyContentError, load_inputs

    rows = "\n".join(f"{x - 32} {100 * math.exp(-((x - 30) ** 2) / 8) + (x * 7919) % 3 / 3:.4f}" for x in range(128))
    head = "# isotope: 27Al\n# field_tesla: 9.4\n# mas_rate_hz: 12500\n"
    (tmp_path / "al.txt").write_text(head + rows, encoding="utf-8")
    text = SMALL + "measured:\n  - {spectrum: al.txt, experiment: echo, correction: {baseline: polynomial}}\n"
    study = load_study(study_file(tmp_path, text))
    assert study.measured[0].isotope is None
    inputs = load_inputs(study)
    found = inputs.measurements[0]
    assert (found.isotope, found.field_tesla, found.mas_rate_hz) == ("27Al", 9.4, 12500.0)
    assert any("baseline taken away" in note for note in inputs.notes)
    conflict = text.replace("experiment: echo", "field_tesla: 14.1")
    with pytest.raises(ValueError, match=r"the file says 9\.400 T"):
        load_inputs(load_study(study_file(tmp_path, conflict)))
    (tmp_path / "al.txt").write_text(head.replace("27Al", "1H") + rows, encoding="utf-8")
    with pytest.raises(StudyContentError, match=r"1H, which is not in nmr\.isotopes"):
        load_inputs(load_study(study_file(tmp_path, text)))


def test_own_references_go_first_and_must_be_of_the_method(tmp_path: Path) -> None:
    from surfshift.analysis.reference_fit import MixedMethodsError, wide_reference
    from surfshift.analysis.reference_table import write_references
    from surfshift.workflows.candidates import load_inputs
    from surfshift.workflows.engines.cluster import method_of
    from surfshift.workflows.engines.protocols import load_protocol

    method = method_of(load_protocol("fast"))
    own = wide_reference("27Al", method)
    write_references([own], tmp_path / "own.json")
    text = SMALL.replace("isotopes: [27Al, 31P]", "isotopes: [27Al, 31P]\n  references: own.json")
    study = load_study(study_file(tmp_path, text))
    inputs = load_inputs(study)
    assert inputs.references["27Al"] == own
    assert inputs.references["31P"].compounds
    assert study.job_hash == load_study(study_file(tmp_path, SMALL)).job_hash
    foreign = method.model_copy(update={"functional": "PBEsol"})
    write_references([own.model_copy(update={"method": foreign})], tmp_path / "own.json")
    with pytest.raises(MixedMethodsError, match="PBEsol"):
        load_inputs(study)
    (tmp_path / "own.json").unlink()
    assert "references: the file" in problems(tmp_path, text)


def test_a_measured_isotope_without_reference_gets_a_wide_one_and_a_note(tmp_path: Path) -> None:
    from surfshift.workflows.candidates import load_inputs

    (tmp_path / "o.csv").write_text("delta_iso_ppm,delta_error_ppm\n40,1\n", encoding="utf-8")
    text = SMALL.replace("27Al, 31P", "17O, 31P") + "measured:\n  - {peaks: o.csv, isotope: 17O, field_tesla: 9.4}\n"
    inputs = load_inputs(load_study(study_file(tmp_path, text)))
    assert inputs.references["17O"].is_wide
    assert any("no 17O compound was computed" in note for note in inputs.notes)


def test_the_job_hash_counts_jobs_only(tmp_path: Path) -> None:
    base = load_study(study_file(tmp_path, SMALL))
    matching = load_study(study_file(tmp_path, SMALL + "matching: {max_members: 1}\nrun: {parallel_jobs: 1}\n"))
    other = load_study(study_file(tmp_path, SMALL.replace("0.5", "1.0")))
    assert base.job_hash == matching.job_hash
    assert base.job_hash != other.job_hash


def test_the_job_hash_follows_the_content_of_a_structure_file(tmp_path: Path) -> None:
    text = SMALL.replace("crystal: AlPO4_berlinite", "structure: my.cif")
    (tmp_path / "my.cif").write_text("one", encoding="utf-8")
    first = load_study(study_file(tmp_path, text)).job_hash
    (tmp_path / "my.cif").write_text("two", encoding="utf-8")
    assert load_study(study_file(tmp_path, text)).job_hash != first


KEYS = st.sampled_from(["study", "nmr", "candidates", "surfaces", "run", "measured"])
LEAVES = st.none() | st.integers() | st.text("ab: []{}", max_size=5)


@settings(max_examples=40)
@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner)))
def test_any_yaml_is_a_study_or_one_clear_error(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    path = study_file(tmp_path_factory.mktemp("any"), yaml.safe_dump(content))
    with pytest.raises(StudyError) as caught:
        load_study(path)
    assert str(path) in str(caught.value)


def test_dotted_places() -> None:
    assert dotted(("candidates", "surfaces", 0, "miller")) == "candidates.surfaces[0].miller"


def test_measurements_of_several_samples_are_told_apart(tmp_path: Path) -> None:
    from surfshift.workflows.candidates import load_inputs

    for sample in ("before", "after"):
        (tmp_path / sample).mkdir()
        (tmp_path / sample / "al.csv").write_text("delta_iso_ppm,delta_error_ppm\n44,1\n", encoding="utf-8")
    entry = "  - {{peaks: {0}/al.csv, isotope: 27Al, field_tesla: 9.4, sample: {0}}}\n"
    study = load_study(study_file(tmp_path, SMALL + "measured:\n" + entry.format("before") + entry.format("after")))
    read = load_inputs(study).measurements
    assert [(m.name, m.sample) for m in read] == [("before: al", "before"), ("after: al", "after")]
    alone = load_study(
        study_file(tmp_path, SMALL + "measured:\n" + entry.format("before").replace(", sample: before", ""))
    )
    assert [(m.name, m.sample) for m in load_inputs(alone).measurements] == [("al", "")]
    assert alone.job_hash == study.job_hash
    adaptive = load_study(study_file(tmp_path, SMALL + "run: {adaptive: true}\n"))
    assert adaptive.run.adaptive
    assert adaptive.job_hash == study.job_hash


def test_dft_steps_are_one_or_several_and_their_numbers_are_checked() -> None:
    def relaxed(dft: object) -> StudyFile:
        plain = {"study": "s", "crystal": "AlPO4_berlinite", "nmr": {"isotopes": ["31P"]}}
        return StudyFile.model_validate({**plain, "relax": {"dft": dft}})

    one = relaxed({"engine": "cp2k"})
    assert one.relax == relaxed([{"engine": "cp2k"}]).relax
    assert relaxed(None).relax.dft == ()
    chain = relaxed([{"engine": "cp2k", "numbers": {"cutoff_ry": 600}}, {"engine": "pw", "task": "static"}])
    assert [(step.engine, step.task) for step in chain.relax.dft] == [("cp2k", "relax"), ("pw", "static")]
    assert StudyFile.model_validate_json(chain.model_dump_json()) == chain
    assert len({one.job_hash, chain.job_hash, relaxed(None).job_hash}) == 3
    with pytest.raises(ValueError, match=r"unknown cp2k protocol key 'cutof_ry'; did you mean 'cutoff_ry'"):
        relaxed({"engine": "cp2k", "numbers": {"cutof_ry": 600}})
    with pytest.raises(ValueError, match=r"cutoff_ry = 1\.0"):
        relaxed({"engine": "pw", "numbers": {"cutoff_ry": 1}})


MOVING = "motion: {candidates: [bulk], isotopes: [31P], n_snapshots: 4, dynamics: {temperature_k: 350, steps: 400}}\n"


def test_motion_is_part_of_the_jobs_but_where_the_shift_comes_from_is_not(tmp_path: Path) -> None:
    resting = load_study(study_file(tmp_path, SMALL))
    moving = load_study(study_file(tmp_path, SMALL + MOVING))
    averaged = load_study(study_file(tmp_path, SMALL + MOVING.replace("n_snap", "shift_from: average, n_snap")))
    hotter = load_study(study_file(tmp_path, SMALL + MOVING.replace("350", "400")))
    assert moving.motion is not None
    assert moving.motion.dynamics.temperature_k == 350
    assert moving.job_hash == averaged.job_hash
    assert len({resting.job_hash, moving.job_hash, hotter.job_hash}) == 3
    assert StudyFile.model_validate_json(moving.model_dump_json()) == moving


def test_sites_that_move_are_chosen_by_candidate_isotope_and_atom(tmp_path: Path) -> None:
    study = load_study(study_file(tmp_path, SMALL + MOVING))
    bulk, slab = build_candidates(study)[:2]
    chosen = moving_sites(bulk, study.nmr, study.motion)
    assert [(orbit.element, isotope) for orbit, isotope in chosen] == [("P", "31P")]
    assert moving_sites(slab, study.nmr, study.motion) == ()
    assert moving_sites(bulk, study.nmr, None) == ()
    phosphorus = chosen[0][0].atom_indices[-1]
    one = load_study(study_file(tmp_path, SMALL + f"motion: {{sites: [P{phosphorus}]}}\n"))
    assert moving_sites(bulk, one.nmr, one.motion) == chosen


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ("{candidates: [bulks]}", "there is no candidate 'bulks'; did you mean 'bulk'"),
        ("{candidates: [bulk], sites: [Al99]}", "Al99 is an atom of none of the candidates AlPO4_berlinite"),
    ],
)
def test_motion_of_what_there_is_not_is_refused(tmp_path: Path, block: str, told: str) -> None:
    with pytest.raises(StudyContentError, match=told):
        build_candidates(load_study(study_file(tmp_path, SMALL + f"motion: {block}\n")))


def test_motion_that_does_not_fit_the_study_is_refused(tmp_path: Path) -> None:
    assert "17O is not in nmr.isotopes" in problems(tmp_path, SMALL + "motion: {isotopes: [17O]}\n")
    assert "not part of an adaptive run" in problems(tmp_path, SMALL + "motion: {}\nrun: {adaptive: true}\n")
    assert "n_snapshot" in problems(tmp_path, SMALL + "motion: {n_snapshot: 4}\n")


GIVEN = """\
phase: berlinite, published
formula: AlPO4
source: made for this test
lines:
  - {isotope: 27Al, delta_iso_ppm: 44.5, delta_error_ppm: 0.5, cq_mhz: 4.09, cq_error_mhz: 0.05}
  - {isotope: 31P, delta_iso_ppm: -24.5, delta_error_ppm: 0.5}
"""


def test_given_phases_of_a_study_are_checked_before_it_runs(tmp_path: Path) -> None:
    text = SMALL + "given_phases: known.yaml\nmatching: {always_present: ['berlinite, published']}\n"
    assert "the file" in problems(tmp_path, text)
    known = tmp_path / "known.yaml"
    known.write_text(GIVEN, encoding="utf-8")
    study = load_study(study_file(tmp_path, text))
    assert study.given_phases == known
    # which jobs run does not depend on it
    assert study.job_hash == load_study(study_file(tmp_path, SMALL)).job_hash
    (phase,) = phases_of(study)
    assert always_present_ids(study, []) == (phase.id,)
    assert "weighs computed candidates only" in problems(tmp_path, text + "run: {adaptive: true}\n")
    known.write_text(GIVEN.replace("  - {isotope: 31P, delta_iso_ppm: -24.5, delta_error_ppm: 0.5}\n", ""))
    with pytest.raises(GivenPhaseError, match="berlinite, published gives no line of 31P"):
        load_study(study_file(tmp_path, text))


def test_times_of_a_measurement_reach_it_and_dephasings_without_them_are_refused(tmp_path: Path) -> None:
    peaks = tmp_path / "p.csv"
    peaks.write_text("delta_iso_ppm,delta_error_ppm,dephasing,dephasing_error\n-20,1,0.3,0.05\n", encoding="utf-8")
    text = SMALL + "measured:\n  - peaks: p.csv\n    isotope: 31P\n    field_tesla: 9.4\n    experiment: redor\n"
    with pytest.raises(MeasurementError, match=r"p\.csv: a dephasing of its peaks says nothing"):
        read_measurements(load_study(study_file(tmp_path, text)).measured)
    text += "    transfer: {dephasing_isotope: 1H, dephasing_time_ms: 0.5}\n"
    (measured,) = read_measurements(load_study(study_file(tmp_path, text)).measured)
    assert measured.transfer is not None
    assert measured.transfer.dephasing_isotope == "1H"
    assert partners_of([measured]) == ("H",)
    with pytest.raises(MeasurementError, match="31P is observed and dephased by itself"):
        read_measurements(load_study(study_file(tmp_path, text.replace("isotope: 1H", "isotope: 31P"))).measured)
    assert "belong together" in problems(tmp_path, text.replace(", dephasing_time_ms: 0.5", ""))
