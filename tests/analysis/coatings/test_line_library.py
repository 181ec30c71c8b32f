import pytest
from surfshift.analysis.coatings.fingerprints import lines_of
from surfshift.analysis.coatings.line_library import METHOD, LineLibraryError, line_library
from surfshift.analysis.match_library import CandidateTensors, missing_sites
from surfshift.analysis.vocabulary import StudyResult

PHASES = ["LiTi2P3O12", "AlPO4", "LiAlO2", "Li3PO4", "Li3P"]


@pytest.fixture(scope="module")
def library():
    return line_library(PHASES, name="phases of AlPO4")


def test_every_line_comes_back_at_its_shift_with_its_coupling(library):
    known = {(line.isotope, line.delta_ppm): line for formula in PHASES for line in lines_of(formula)}
    assert library.sites
    for site in library.sites:
        line = known[site.isotope, round(site.delta_iso_ppm, 3)]
        assert abs(site.cq_mhz) == pytest.approx(line.cq_mhz or 0.0, abs=1e-6)
        assert site.delta_error_ppm > 0
    assert {s.method.key for tensors in library.tensors.values() for s in tensors} == {METHOD.key}


def test_polymorphs_are_candidates_of_their_own(library):
    shifts = {
        c.name: {s.delta_iso_ppm for s in library.sites if s.candidate_id == c.id and s.isotope == "27Al"}
        for c in library.candidates
    }
    assert shifts["AlPO4_berlinite"] == {44.5}
    assert shifts["LiAlO2_gamma"] == {82.0}
    assert shifts["LiAlO2_alpha"] == {17.0}
    # a line of the formula as such belongs to each polymorph
    assert all(
        any(s.isotope == "7Li" for s in library.sites if s.candidate_name == name)
        for name in ("LiAlO2_gamma", "LiAlO2_alpha")
    )


def test_candidates_have_every_site_of_a_nucleus_that_they_have_a_line_of(library):
    for candidate in library.candidates:
        tensors = library.tensors[candidate.id]
        elements = {site.element for site in tensors}
        assert missing_sites(CandidateTensors(candidate=candidate, tensors=tensors), elements) == ""


def test_references_hold_sources_and_the_errors_of_their_lines(library):
    phosphorus = next(r for r in library.references if r.isotope == "31P")
    assert phosphorus.error_of("PO4") < 1.0
    assert all(compound.source for compound in phosphorus.compounds)
    assert StudyResult.model_validate_json(library.model_dump_json()) == library


def test_phases_without_a_line_are_named_and_none_at_all_is_refused():
    made = line_library(["Li3PO4", "Co3O4"], name="x")
    assert any("Co3O4: no line on file" in failure for failure in made.failures)
    with pytest.raises(LineLibraryError, match="Co3O4: no line on file"):
        line_library(["Co3O4"], name="x")
