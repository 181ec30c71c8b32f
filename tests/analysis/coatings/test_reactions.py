import numpy as np
import pytest
from surfshift.analysis.coatings.energies import amounts_of
from surfshift.analysis.coatings.reactions import System, make_reactant, reaction_curve


def curve_of(index, first, second, voltage_v=None, n_samples=64):
    one, two = amounts_of(first), amounts_of(second)
    space = index.space({*one, *two, "Li"})
    system = System(space, space.samples(n_samples, 1), voltage_v)
    return reaction_curve(system, make_reactant(space, first, one), make_reactant(space, second, two))


def test_aluminium_phosphate_and_two_lithium_oxide_give_aluminate_and_phosphate(phosphates):
    """AlPO4 + 2 Li2O -> LiAlO2 + Li3PO4, by hand: -12.3 - 21.7 + 18.0 + 2 x 6.2 = -3.6 eV for 12 atoms."""
    curve = curve_of(phosphates, "AlPO4", "Li2O")
    at_half = next(k for k in curve.kinks if k.share == pytest.approx(0.5, abs=1e-4))
    assert set(at_half.products) == {"LiAlO2", "Li3PO4"}
    assert at_half.energy_ev_per_atom == pytest.approx(-3.6 / 12, abs=1e-4)
    assert curve.worst == at_half
    assert curve.product_probability["Li3PO4"] > 0.9


def test_aluminium_phosphate_and_lithium_give_lithium_phosphide(phosphates):
    curve = curve_of(phosphates, "AlPO4", "Li")
    assert "Li3P" in {f for kink in curve.kinks for f in kink.products}
    assert curve.worst.energy_ev_per_atom < -0.3
    assert curve.probability == 1.0


@pytest.mark.parametrize(
    ("first", "second"), [("AlPO4", "Li2O"), ("AlPO4", "Li"), ("LiAlO2", "P2O5"), ("Li3PO4", "Al"), ("Li3P", "Al2O3")]
)
def test_pymatgen_gives_the_same_curve(phosphates, first, second):
    from pymatgen.analysis.interface_reactions import InterfacialReactivity
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
    from pymatgen.core import Composition

    space = phosphates.space({*amounts_of(first), *amounts_of(second), "Li"})
    entries = [
        PDEntry(Composition(f), e * sum(amounts_of(f).values()))
        for f, e in zip(space.formulas, space.energies_ev, strict=True)
    ]
    oracle = InterfacialReactivity(Composition(first), Composition(second), PhaseDiagram(entries), norm=True)
    curve = curve_of(phosphates, first, second)
    expected = [(kink[1], kink[2]) for kink in oracle.get_kinks()]
    assert len(expected) == len(curve.kinks)
    for (share, energy), kink in zip(expected, curve.kinks, strict=True):
        assert kink.share == pytest.approx(share, abs=1e-5)
        assert kink.energy_ev_per_atom == pytest.approx(energy, abs=2e-5)


@pytest.mark.parametrize("voltage_v", [0.5, 2.0, 3.5])
def test_pymatgen_gives_the_same_open_curve(phosphates, voltage_v):
    """Pymatgen gives open energies per atom other than lithium, here they are per atom put in."""
    from pymatgen.analysis.interface_reactions import GrandPotentialInterfacialReactivity
    from pymatgen.analysis.phase_diagram import GrandPotentialPhaseDiagram, PDEntry, PhaseDiagram
    from pymatgen.core import Composition, Element

    first, second = "AlPO4", "Li2O"
    space = phosphates.space({"Li", "Al", "P", "O"})
    entries = [
        PDEntry(Composition(f), e * sum(amounts_of(f).values()))
        for f, e in zip(space.formulas, space.energies_ev, strict=True)
    ]
    oracle = GrandPotentialInterfacialReactivity(
        Composition(first),
        Composition(second),
        GrandPotentialPhaseDiagram(entries, {Element("Li"): -voltage_v}),
        pd_non_grand=PhaseDiagram(entries),
        include_no_mixing_energy=True,
        norm=True,
    )
    curve = curve_of(phosphates, first, second, voltage_v)
    kinks = curve.kinks
    for _, share, energy, *_ in oracle.get_kinks():
        # AlPO4 has no lithium, Li2O one other atom in three
        others = share + (1.0 - share) / 3.0
        mine = np.interp(share, [k.share for k in kinks], [k.energy_ev_per_atom for k in kinks])
        assert mine / others == pytest.approx(energy, abs=1e-4)


def test_order_of_the_two_solids_does_not_matter(phosphates):
    one, two = curve_of(phosphates, "AlPO4", "Li2O"), curve_of(phosphates, "Li2O", "AlPO4")
    assert two.worst.share == pytest.approx(1.0 - one.worst.share, abs=1e-5)
    assert two.worst.energy_ev_per_atom == pytest.approx(one.worst.energy_ev_per_atom, abs=2e-5)


def test_stable_pairs_do_not_react(phosphates):
    curve = curve_of(phosphates, "Li3PO4", "LiAlO2")
    assert curve.worst.energy_ev_per_atom == pytest.approx(0.0, abs=1e-5)
    assert curve.probability < 0.5


def test_energy_error_is_that_of_the_reaction_worked_out_by_hand(phosphates):
    """Independent errors of 0.01 eV/atom in LiAlO2 (4 of 12 atoms), Li3PO4 (8), AlPO4 (6) and Li2O (6 of 12)."""
    curve = curve_of(phosphates, "AlPO4", "Li2O", n_samples=4000)
    by_hand = 0.01 * np.sqrt((4 / 12) ** 2 + (8 / 12) ** 2 + 2 * (6 / 12) ** 2)
    assert curve.energy_error_ev == pytest.approx(by_hand, rel=0.1)
