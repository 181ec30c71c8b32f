import pytest
from surfshift.structures.phases import UnknownPhaseError, build_phase, load_phase, phase_names


def test_there_are_enough_phases_over_the_elements_of_batteries():
    from pymatgen.core.composition import Composition

    names = phase_names()
    elements = {str(e) for name in names for e in Composition(load_phase(name).formula).elements}
    assert len(names) >= 300
    wanted = "Li Al Ti P O La Zr Nb Ta Si B C N F Cl Br I S Y In Co Ni Mn"
    assert set(wanted.split()) <= elements


@pytest.mark.parametrize(
    ("name", "space_group", "n_atoms"),
    [
        ("LiI-AB_cF8_225_a_b", "Fm-3m", 2),
        ("Co3O4-A2BC4_cF56_227_d_a_e", "Fd-3m", 14),
        ("Li2O2-lithium_peroxide", "P6_3/mmc", 8),
        ("LaPO4-monazite", "P2_1/c", 24),
        ("LiAl5O8-LiFe5O8", "P4_332", 56),
        ("Li3NbO4-Li3NbO4", "I-43m", 32),
    ],
)
def test_structures_have_the_symmetry_of_their_type(name, space_group, n_atoms):
    structure = build_phase(name)
    assert len(structure) == n_atoms
    assert structure.get_space_group_info(symprec=0.02)[0] == space_group


def test_densities_are_those_of_the_facts():
    for name in ("LiI-AB_cF8_225_a_b", "TiN-AB_cF8_225_a_b", "Y2O3-AB3C6_cI80_206_a_d_e", "LiP-LiP"):
        assert float(build_phase(name).density) == pytest.approx(load_phase(name).density_g_cm3, rel=0.01)


@pytest.mark.slow
def test_every_phase_builds_without_overlaps():
    for name in phase_names():
        assert len(build_phase(name)) > 0


def test_every_phase_says_where_it_comes_from():
    facts = [load_phase(name) for name in phase_names()]
    assert all(f.source and f.structure_type for f in facts)
    assert {f.grade for f in facts} == {"verified", "recalled", "model", "estimate"}


def test_unknown_phase_names_the_nearest():
    with pytest.raises(UnknownPhaseError, match="did you mean 'LiP-LiP'"):
        load_phase("LiP-Li")
