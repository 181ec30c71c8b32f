"""Files of given phases: what they may say, and every message for what they may not."""

from pathlib import Path

import pytest
from surfshift.analysis.given_phases import (
    GivenPhaseError,
    given_sites,
    is_phase_file,
    missing_isotopes,
    read_given_phases,
)
from surfshift.analysis.match_library import LibraryError, read_library
from surfshift.analysis.vocabulary import StudyResult

EXAMPLES = Path(__file__).resolve().parents[2] / "examples/phases"

YAML = """
phases:
  - phase: beta-Li3PO4
    formula: Li3PO4
    source: a paper
    lines:
      - {isotope: 31P, delta_iso_ppm: 9.5, delta_error_ppm: 0.3}
      - {isotope: 7Li, delta_iso_ppm: 0.3, delta_error_ppm: 0.2, atoms: 2, cq_mhz: 0.06, cq_error_mhz: 0.02}
      - {isotope: 7Li, delta_iso_ppm: 0.1, delta_error_ppm: 0.2, width_ppm: 1.5, label: second}
"""
CSV = """# comments are passed over
phase,formula,source,isotope,delta_iso_ppm,delta_error_ppm,atoms,cq_mhz,cq_error_mhz,width_ppm,label
beta-Li3PO4,Li3PO4,a paper,31P,9.5,0.3,,,,,
beta-Li3PO4,,,7Li,0.3,0.2,2,0.06,0.02,,
beta-Li3PO4,,,7Li,0.1,0.2,,,,1.5,second
"""


def written(folder: Path, text: str, name: str = "known.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_yaml_and_csv_say_the_same(tmp_path: Path) -> None:
    from_yaml = read_given_phases(written(tmp_path, YAML))
    assert from_yaml == read_given_phases(written(tmp_path, CSV, "known.csv"))
    (phase,) = from_yaml
    # later versions that know more keys give the same id
    assert phase.id == "given-e77d47c498e360e5"
    assert phase.elements == {"Li": 3, "P": 1, "O": 4}
    sites = given_sites(phase, ["7Li", "31P"])
    assert [s.multiplicity for s in sites] == [1, 2, 1]
    assert [s.atom_indices for s in sites] == [(0,), (1, 2), (3,)]
    assert all(s.is_given and s.candidate_id == phase.id for s in sites)
    assert [s.isotope for s in given_sites(phase, ["31P"])] == ["31P"]
    assert missing_isotopes(phase, ["7Li", "17O", "27Al"]) == ("17O",)


def test_the_example_of_lithium_metal_can_be_read() -> None:
    (metal,) = read_given_phases(EXAMPLES / "lithium-metal.yaml")
    assert metal.formula == "Li"
    for line in metal.lines:
        assert 240 < line.delta_iso_ppm - line.delta_error_ppm < line.delta_iso_ppm + line.delta_error_ppm < 275


def test_a_library_takes_phases_beside_other_files_and_names_them_apart(tmp_path: Path) -> None:
    written(tmp_path, YAML)
    written(tmp_path, "study: mine\ncrystal: X\n", "study.yaml")
    written(tmp_path, "label,delta_iso_ppm,delta_error_ppm\na,1,1\n", "peaks.csv")
    written(tmp_path, "- a list\n- {", "broken.yaml")
    assert [is_phase_file(f) for f in sorted(tmp_path.iterdir())] == [False, True, False, False]
    library = read_library([tmp_path], {"Li"})
    assert library.entries == ()
    assert [phase.phase for phase in library.given] == ["beta-Li3PO4"]
    # the same phase of another source is another phase, with a name of its own
    other = tmp_path / "other"
    other.mkdir()
    written(other, YAML.replace("a paper", "another paper"))
    library = read_library([tmp_path, other, tmp_path / "known.yaml"], {"Li"})
    assert [phase.phase for phase in library.given] == ["beta-Li3PO4", "beta-Li3PO4 (given)"]


def test_phases_survive_in_a_result_and_come_back_from_it(tmp_path: Path) -> None:
    given = read_given_phases(written(tmp_path, YAML))
    sites = given_sites(given[0], ["31P"])
    result = StudyResult(
        name="x", relaxations=(), tensors={}, references=(), sites=sites, measurements=(), assignment=None,
        provenance={}, given=given,
    )  # fmt: skip
    assert StudyResult.model_validate_json(result.model_dump_json()) == result
    folder = tmp_path / "finished"
    folder.mkdir()
    written(folder, result.model_dump_json(), "result.json")
    assert read_library([folder], {"P"}).given == given


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("31P, delta", "31X, delta", "'31X' is no nucleus"),
        ("delta_error_ppm: 0.3}", "error: 0.3}", "unknown key lines.1.error"),
        (", delta_error_ppm: 0.3}", "}", "the key lines.1.delta_error_ppm is required"),
        (", cq_error_mhz: 0.02", "", "cq_mhz needs cq_error_mhz"),
        ("9.5, ", "9.5, cq_mhz: 1, cq_error_mhz: 1, ", "spin 1/2"),
        ("atoms: 2", "atoms: 3", "no multiple of the 3 in Li3PO4"),
        ("0.3}\n      - {isotope: 7Li", "0.3, atoms: 2}\n      - {isotope: 7Li", "use one multiple for all"),
        ("formula: Li3PO4", "formula: Li3P04x", "cannot be read"),
        ("formula: Li3PO4", "formula: Li3O4", "no P in the formula"),
        ("    source: a paper\n", "", "the key source is required"),
        ("phases:", "phases: 3\nrest:", "unknown key 'rest' beside 'phases'"),
        ("delta_iso_ppm: 9.5", "delta_iso_ppm: .nan", "finite number"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in YAML
    path = written(tmp_path, YAML.replace(old, new))
    with pytest.raises(GivenPhaseError, match=message) as caught:
        read_given_phases(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("phase,isotope,shift\nx,7Li,1\n", "unknown column 'shift'"),
        ("phase,formula\nx,Li\n", "column 'isotope' is missing"),
        ("phase,isotope\nx\n", "1 cells"),
        ("phase,isotope,formula\nx,7Li,Li\nx,7Li,Na\n", "another formula of x"),
        ("phase,isotope\n", "holds no phase"),
    ],
)
def test_bad_tables_are_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(GivenPhaseError, match=message):
        read_given_phases(written(tmp_path, text, "x.csv"))


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GivenPhaseError, match="YAML or CSV"):
        read_given_phases(written(tmp_path, "x", "x.txt"))
    with pytest.raises(LibraryError, match="there is no file or folder"):
        read_library([tmp_path / "absent.yaml"], {"Li"})
