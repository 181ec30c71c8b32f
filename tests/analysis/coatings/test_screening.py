import csv
import json

import pytest
from surfshift.analysis.coatings.errors import CoatingError, EmptyPhaseSpaceError, UnknownFormulaError
from surfshift.analysis.coatings.output import write_csv, write_json
from surfshift.analysis.coatings.page import render_page
from surfshift.analysis.coatings.ranking import objectives, rank
from surfshift.analysis.coatings.screening import (
    CoatingResult,
    Screener,
    Settings,
    electrode_of,
    formula_of,
    read_coatings,
)


@pytest.fixture(scope="module")
def results(phosphates):
    screener = Screener(phosphates, Settings(n_samples=32))
    lithium = electrode_of("Li")
    return [
        screener.screen(c, ("AlPO4", "AlPO4"), lithium)
        for c in ("Li3PO4", "LiAlO2", "Al2O3", "Li2O", "LiPO3", "Li2AlPO5")
    ]


def test_result_round_trips(results):
    for result in results:
        assert CoatingResult.model_validate_json(result.model_dump_json()) == result


def test_reaction_and_products_of_lithium_oxide_on_aluminium_phosphate(results):
    oxide = next(r for r in results if r.coating == "Li2O")
    assert set(oxide.products) >= {"LiAlO2", "Li3PO4"}
    assert oxide.electrolyte_ev < -0.2
    assert oxide.electrode_ev == pytest.approx(0.0, abs=1e-4)
    assert oxide.window_violation_v == pytest.approx(0.0, abs=0.01)
    assert oxide.detectable["Li3PO4"][0].isotope == "31P"


def test_coverage_stands_beside_every_contact(results):
    for result in results:
        for coverage in (result.window_coverage, result.electrolyte.coverage, result.electrode.coverage):
            assert coverage.n_phases > 0
            assert coverage.n_known_present <= coverage.n_known
            assert "known" in str(coverage)


def test_a_coating_without_an_energy_says_so(results):
    made_up = next(r for r in results if r.coating == "Li2AlPO5")
    assert any("no phase of the table" in note for note in made_up.notes)
    assert made_up.window.above_hull_ev is None


def test_open_reactions_follow_the_potentials_of_the_electrode(phosphates):
    electrode = electrode_of("Li3PO4@2.0-4.0")
    result = Screener(phosphates, Settings(n_samples=16, n_voltages=5)).screen("LiAlO2", ("AlPO4", "AlPO4"), electrode)
    assert [c.voltage_v for c in result.electrode.open] == [2.0, 2.5, 3.0, 3.5, 4.0]
    alone = [c.alone_ev_per_atom for c in result.electrode.open]
    assert alone[-1] < alone[0]


def test_front_holds_whatever_nothing_beats(results):
    places = {p.coating: p for p in rank(results)}
    values = {r.coating: objectives(r) for r in results}
    assert any(p.is_front for p in places.values())
    for name, place in places.items():
        beaten = any(
            all(o <= s for o, s in zip(other, values[name], strict=True))
            and any(o < s - 0.05 for o, s in zip(other, values[name], strict=True))
            for k, other in values.items()
            if k != name
        )
        assert not (beaten and place.is_front)
        assert place.reasons


def test_page_csv_and_json_say_the_same(results, phosphates, tmp_path):
    ranked = {("AlPO4", "Li"): rank(results)}
    rows = list(csv.DictReader(write_csv(results, ranked, tmp_path / "a.csv").read_text().splitlines()))
    loaded = json.loads(
        write_json(results, ranked, refused={"X": "why"}, table=phosphates.table, path=tmp_path / "a.json").read_text()
    )
    assert [r["coating"] for r in rows] == [r["coating"] for r in loaded["results"]] == [r.coating for r in results]
    assert float(rows[0]["reduction_v"]) == results[0].window.reduction.voltage_v
    assert loaded["refused"] == {"X": "why"}
    page = render_page(results, ranked, refused={"X": "<b>why</b>"}, table=phosphates.table, settings=Settings())
    assert "&lt;b&gt;why&lt;/b&gt;" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert [r["coating"] for r in data["rows"]] == [r.coating for r in results]
    assert data["rows"][0]["reduction"]["v"] == results[0].window.reduction.voltage_v


def test_names_formulas_and_crystals_are_read():
    assert formula_of("LATP") == "Li3Ti3Al(PO4)6"
    assert formula_of("AlPO4_berlinite") == "AlPO4"
    assert formula_of("Li6P2O8") == "Li3PO4"
    assert read_coatings("Li3PO4 # good\n\n# nothing\nLiF\nLi3PO4\n") == ["Li3PO4", "LiF"]


def test_bad_names_are_refused_by_line():
    with pytest.raises(UnknownFormulaError, match="line 2: 'Lithium'"):
        read_coatings("LiF\nLithium\n")
    with pytest.raises(CoatingError, match="no coating"):
        read_coatings("# empty\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [("LiFe", "known are"), ("LiF@x", "no potentials"), ("LiF@4-3", "must come first"), ("Qq@1-2", "neither a phase")],
)
def test_bad_electrodes_are_refused(text, message):
    with pytest.raises(CoatingError, match=message):
        electrode_of(text)


def test_an_element_without_phases_is_refused_by_name(phosphates):
    with pytest.raises(EmptyPhaseSpaceError, match="no phase of Nb"):
        Screener(phosphates, Settings()).screen("LiNbO3", ("AlPO4", "AlPO4"), electrode_of("Li"))
