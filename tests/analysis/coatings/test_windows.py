import pytest
from surfshift.analysis.coatings.energies import amounts_of
from surfshift.analysis.coatings.reactions import make_reactant
from surfshift.analysis.coatings.windows import stability_window


def window_of(index, formula):
    space = index.space({*amounts_of(formula), "Li"})
    return stability_window(space, space.samples(64, 1), make_reactant(space, formula, amounts_of(formula)))


def test_lithium_oxide_by_hand(phosphates):
    """Li2O -> Li + 1/2 Li2O2 at (6.2 - 6.55 / 2) eV per lithium; lithium metal does not reduce it."""
    window = window_of(phosphates, "Li2O")
    assert window.oxidation.voltage_v == pytest.approx(6.2 - 6.55 / 2, abs=1e-3)
    assert window.oxidation.reaction == "Li2O -> Li + 0.5 Li2O2"
    assert window.reduction.voltage_v == pytest.approx(0.0, abs=1e-3)


def test_lithium_phosphate_is_reduced_to_phosphide_by_hand(phosphates):
    """Li3PO4 + 8 Li -> Li3P + 4 Li2O at (4 x 6.2 + 3.4 - 21.7) / 8 V, if the products of the table win."""
    window = window_of(phosphates, "Li3PO4")
    assert window.reduction.voltage_v == pytest.approx((4 * 6.2 + 3.4 - 21.7) / 8, abs=2e-3)
    assert window.reduction.reaction == "Li3PO4 + 8 Li -> 4 Li2O + Li3P"


def test_no_lithium_means_no_oxidation_by_lithium(phosphates):
    window = window_of(phosphates, "Al2O3")
    assert window.oxidation.voltage_v is None
    assert window.width_v is None
    assert "no lithium" in window.oxidation.reaction
    assert window.reduction.voltage_v > 0


def test_pymatgens_element_profile_agrees(phosphates):
    """Decomposition at a potential just inside is none, just outside there is one."""
    from pymatgen.analysis.phase_diagram import GrandPotentialPhaseDiagram, PDEntry, PhaseDiagram
    from pymatgen.core import Composition, Element

    space = phosphates.space({"Li", "Al", "O"})
    entries = [
        PDEntry(Composition(f), e * sum(amounts_of(f).values()))
        for f, e in zip(space.formulas, space.energies_ev, strict=True)
    ]
    PhaseDiagram(entries)
    window = window_of(phosphates, "LiAlO2")
    entry = next(e for e in entries if e.composition.reduced_formula == "LiAlO2")
    for voltage, is_stable in (
        (window.reduction.voltage_v + 0.01, True),
        (window.reduction.voltage_v - 0.01, False),
        (window.oxidation.voltage_v - 0.01, True),
        (window.oxidation.voltage_v + 0.01, False),
    ):
        diagram = GrandPotentialPhaseDiagram(entries, {Element("Li"): -voltage})
        stable = {e.original_entry.composition.reduced_formula for e in diagram.stable_entries}
        assert (entry.composition.reduced_formula in stable) is is_stable


def test_a_solid_that_is_no_phase_gets_no_energy_above_the_hull(phosphates):
    window = window_of(phosphates, "Li2AlPO5")
    assert window.above_hull_ev is None
    assert window.probability_stable is None
    assert window.oxidation.voltage_v >= window.reduction.voltage_v
