"""Libraries of candidates from the files of real calculations, and what is refused."""

from pathlib import Path

import pytest
from surfshift.analysis.match_library import CandidateTensors, LibraryError, check_one_method_each, read_library
from surfshift.analysis.reference_fit import MixedMethodsError


def link(folder: Path, *files: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for file in files:
        (folder / file.name).symlink_to(file)
    return folder


def test_one_structure_by_two_programs_is_never_mixed(tmp_path: Path, shared_data: Path) -> None:
    castep, vasp = shared_data / "parsers/castep/AlPO-14.magres", shared_data / "parsers/vasp/AlPO-14.OUTCAR"
    folder = link(tmp_path / "both", castep, vasp)
    with pytest.raises(MixedMethodsError, match="mixes 2 methods for P") as caught:
        check_one_method_each(read_library([folder], {"P"}).entries, {"P"})
    assert "castep/pbesol/" in str(caught.value)
    assert "vasp/" in str(caught.value)
    alone = read_library([castep], {"P"})
    (entry,) = alone.entries
    assert entry.candidate.name == "AlPO-14"
    assert {site.element for site in entry.tensors} == {"P"}
    assert sum(len(site.atom_indices) for site in entry.tensors) == entry.candidate.structure.elements.count("P")
    check_one_method_each(alone.entries, {"P"})


def test_a_json_entry_comes_back_and_a_structure_counts_once(tmp_path: Path, shared_data: Path) -> None:
    (entry,) = read_library([shared_data / "parsers/castep/AlPO-14.magres"], {"P", "Al"}).entries
    folder = tmp_path / "json"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.json").write_text(entry.model_dump_json(), encoding="utf-8")
    found = read_library([folder], {"P"})
    assert found.entries == (entry,)
    assert "it counts once" in found.notes[0]
    assert CandidateTensors.model_validate_json(entry.model_dump_json()) == entry


def test_a_candidate_without_tensors_of_a_measured_element_is_left_out(tmp_path: Path, shared_data: Path) -> None:
    (entry,) = read_library([shared_data / "parsers/castep/AlPO-14.magres"], {"P"}).entries
    file = tmp_path / "only-p.json"
    file.write_text(entry.model_dump_json(), encoding="utf-8")
    with pytest.raises(LibraryError, match=r"no candidate with tensors of Al .*its tensors of Al"):
        read_library([file], {"Al"})


def test_folders_without_candidates_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="there is no file or folder"):
        read_library([tmp_path / "none"], {"P"})
    with pytest.raises(LibraryError, match="holds no candidate"):
        read_library([tmp_path], {"P"})
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(LibraryError, match="without a report"):
        read_library([tmp_path], {"P"})
    (tmp_path / "result.json").write_text('{"name": 3}', encoding="utf-8")
    with pytest.raises(LibraryError, match="is not the result of a study"):
        read_library([tmp_path], {"P"})
    bad = tmp_path / "bad.json"
    bad.write_text("[]", encoding="utf-8")
    with pytest.raises(LibraryError, match="neither a candidate"):
        read_library([bad], {"P"})
