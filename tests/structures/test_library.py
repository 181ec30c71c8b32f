"""The library's crystals against each other's facts and against independently built structures."""

from pathlib import Path

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from surfshift.structures.errors import SurfshiftError
from surfshift.structures.library import (
    CrystalDataError,
    DisorderedCrystalError,
    UnknownCrystalError,
    build_crystal,
    build_disordered,
    check_crystal,
    crystal_names,
    disordered_crystal_names,
    load_crystal,
)
from surfshift.structures.vocabulary import Crystal

REFERENCE_FILES = {
    "AlPO4_berlinite": "AlPO4_berlinite_COD9006404",
    "LATP_x0.3": "LATP_x0.3_disordered",
    "LLZO_cubic": "LLZO_cubic_disordered",
    "Li2ZrCl6_trigonal": "Li2ZrCl6_P-3m1_model",
    "Li3YCl6_trigonal": "Li3YCl6_P-3m1",
    "LiOH_H2O": "LiOH.H2O",
    "LiTi2P3O12": "LiTi2(PO4)3",
    "TiP2O7": "TiP2O7_subcell",
    "ZrO2_monoclinic": "ZrO2_mono",
}
ALL_NAMES = (*crystal_names(), *disordered_crystal_names())


def reference_folder() -> Path:
    for parent in Path(__file__).resolve().parents:
        folder = parent.parent / "shared" / "data" / "crystals"
        if folder.is_dir():
            return folder
    pytest.skip("the reference crystals (../shared/data/crystals) are not here")


@pytest.mark.parametrize("name", ALL_NAMES)
def test_crystal_equals_the_reference_file(name: str) -> None:
    path = reference_folder() / f"{REFERENCE_FILES.get(name, name)}.cif"
    if not path.is_file():
        pytest.skip(f"no reference file for {name}")
    reference = Structure.from_file(path, occupancy_tolerance=10.0)
    built = build_disordered(load_crystal(name)).to_pymatgen()
    built.remove_oxidation_states()
    reference.remove_oxidation_states()
    assert len(built) == len(reference)
    assert float(built.density) == pytest.approx(float(reference.density), rel=1e-4)
    assert built.composition.almost_equals(reference.composition, rtol=1e-3)
    matcher = StructureMatcher(primitive_cell=False, scale=False, ltol=0.001, stol=0.01)
    rms = matcher.get_rms_dist(built, reference)
    assert rms is not None
    assert rms[0] < 1e-3


@pytest.mark.parametrize("name", ALL_NAMES)
def test_crystal_has_its_space_group_and_passes_its_check(name: str) -> None:
    crystal = load_crystal(name)
    found = SpacegroupAnalyzer(build_disordered(crystal).to_pymatgen(), symprec=0.001)
    assert found.get_space_group_number() == crystal.space_group_number
    check = check_crystal(crystal)
    assert check.charge == pytest.approx(0.0, abs=1e-9 if crystal.is_ordered else 0.5)
    assert check.density_g_cm3 == pytest.approx(crystal.density_g_cm3, rel=0.02)
    assert Crystal.model_validate_json(crystal.model_dump_json()) == crystal


def test_every_name_is_one_word_of_formula_and_phase() -> None:
    assert len(set(ALL_NAMES)) == len(ALL_NAMES)
    assert not [name for name in ALL_NAMES if not name.replace("_", "").replace(".", "").isalnum()]


def test_expansion_agrees_with_an_independent_one() -> None:
    crystal = load_crystal("LiAlCl4")
    independent = Structure.from_spacegroup(
        crystal.space_group,
        Lattice.from_parameters(*crystal.cell),
        [site.element for site in crystal.sites],
        [site.xyz for site in crystal.sites],
    )
    built = build_crystal(crystal).to_pymatgen()
    built.remove_oxidation_states()
    distances = built.lattice.get_all_distances(built.frac_coords, independent.frac_coords)
    assert distances.min(axis=1).max() < 1e-6
    assert len(built) == len(independent) == 24


def test_disordered_crystal_is_not_built_as_ordered() -> None:
    with pytest.raises(DisorderedCrystalError, match=r"Al1 0\.15.*order_structure"):
        build_crystal(load_crystal("LATP_x0.3"))


@pytest.mark.parametrize("name", ["AlPO4_berlinite", "LATP_x0.3"])
def test_building_refuses_a_bad_entry_by_name(name: str) -> None:
    crystal = load_crystal(name).model_copy(update={"density_g_cm3": 9.9})
    with pytest.raises(CrystalDataError, match=f"{name}: density"):
        build_disordered(crystal)
    with pytest.raises(SurfshiftError, match=name):
        build_crystal(crystal)


@pytest.mark.parametrize(
    ("name", "cation", "coordination", "low", "high"),
    [
        ("AlPO4_berlinite", "Al", 4, 1.70, 1.77),
        ("AlPO4_berlinite", "P", 4, 1.51, 1.55),
        ("LiAlO2_alpha", "Al", 6, 1.88, 1.93),
        ("LiAlO2_gamma", "Al", 4, 1.74, 1.78),
        ("Al2O3_corundum", "Al", 6, 1.85, 1.98),
        ("Li3PO4_gamma", "Li", 4, 1.90, 2.07),
        ("LiTi2P3O12", "Ti", 6, 1.88, 1.98),
        ("LiTi2P3O12", "P", 4, 1.50, 1.55),
        ("LLZO_tetragonal", "Zr", 6, 2.08, 2.13),
        ("LiTiOPO4_alpha", "Ti", 6, 1.70, 2.25),
        ("LiPO3_chain_model", "P", 4, 1.47, 1.62),
        ("Li2CO3", "C", 3, 1.26, 1.30),
        ("LiAlCl4", "Al", 4, 2.11, 2.16),
        ("Li10GeP2S12", "P", 4, 1.97, 2.16),
        ("LiCoO2", "Co", 6, 1.90, 1.94),
    ],
)
def test_coordination_is_the_known_one(name: str, cation: str, coordination: int, low: float, high: float) -> None:
    bonds = next(b for b in check_crystal(load_crystal(name)).bonds if b.cation == cation)
    assert bonds.coordination == (coordination, coordination)
    assert low < bonds.length_ang[0] <= bonds.length_ang[1] < high


def test_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(UnknownCrystalError, match="did you mean 'AlPO4_berlinite'"):
        load_crystal("AlPO4_berlinit")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"density_g_cm3": 2.9}, "density"),
        ({"formula_units": 4}, r"are \{'Al': 4"),
        ({"space_group_number": 152}, "is space group 154, not 152"),
        ({"cell": (4.9438, 5.2, 10.9498, 90.0, 90.0, 120.0)}, "cannot build"),
        ({"cell": (9.9, 9.9, 22.0, 90.0, 90.0, 120.0)}, "bond-valence|density"),
    ],
)
def test_wrong_facts_are_refused(change: dict[str, object], message: str) -> None:
    crystal = load_crystal("AlPO4_berlinite").model_copy(update=change)
    with pytest.raises(CrystalDataError, match=message):
        check_crystal(crystal)


def test_wrong_oxidation_state_is_refused() -> None:
    crystal = load_crystal("LiOH")
    sites = tuple(s.model_copy(update={"oxidation_state": -1.0}) if s.element == "O" else s for s in crystal.sites)
    with pytest.raises(CrystalDataError, match=r"charge \+2"):
        check_crystal(crystal.model_copy(update={"sites": sites}))


def test_built_cell_is_the_published_one() -> None:
    crystal = load_crystal("Li3PO4_beta")
    lengths = np.linalg.norm(build_crystal(crystal).lattice, axis=1)
    np.testing.assert_allclose(lengths, crystal.cell[:3], atol=1e-9)
