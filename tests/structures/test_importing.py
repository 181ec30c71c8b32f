"""Reading users' files: what is taken, and what is refused by name."""

from pathlib import Path

import numpy as np
import pytest
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure
from surfshift.structures.disorder import DisorderedSite, SiteSpecies
from surfshift.structures.importing import (
    OverlapError,
    OxidationStateError,
    PartialOccupancyError,
    StructureFileError,
    disordered_from_pymatgen,
    from_ase,
    from_pymatgen,
    read_disordered,
    read_structure,
)
from surfshift.structures.library import build_crystal, build_disordered, load_crystal

CIF_HEAD = """data_x
_cell_length_a 4.0
_cell_length_b 4.0
_cell_length_c 4.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
"""


def write_cif(folder: Path, *rows: str) -> Path:
    path = folder / "given.cif"
    path.write_text(CIF_HEAD + "\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(
    "name",
    ["AlPO4_berlinite", "Al2O3_corundum", "LiOH", "Li3PO4_gamma", "Li2CO3", "LiAlCl4", "Li3InCl6", "La2O3", "Li_metal"],
)
def test_cif_round_trip_finds_the_oxidation_states(name: str, tmp_path: Path) -> None:
    crystal = build_crystal(load_crystal(name))
    bare = crystal.to_pymatgen()
    bare.remove_oxidation_states()
    path = tmp_path / "crystal.cif"
    bare.to(str(path))
    back = read_structure(path)
    assert sorted(zip(back.elements, back.oxidation_states, strict=True)) == sorted(
        zip(crystal.elements, crystal.oxidation_states, strict=True)
    )
    np.testing.assert_allclose(back.lattice, crystal.lattice, atol=1e-5)


@pytest.mark.parametrize("suffix", ["POSCAR", "atoms.extxyz", "atoms.xsf", "crystal.json"])
def test_other_formats_give_the_same_structure(suffix: str, tmp_path: Path) -> None:
    crystal = build_crystal(load_crystal("LiOH"))
    bare = crystal.to_pymatgen()
    bare.remove_oxidation_states()
    path = tmp_path / suffix
    if suffix in ("POSCAR", "crystal.json"):
        bare.to(str(path), fmt="poscar" if suffix == "POSCAR" else "json")
    else:
        bare.to_ase_atoms().write(path)
    back = read_structure(path)
    assert back.formula == crystal.formula
    assert back.total_charge == pytest.approx(0.0)
    assert dict(zip(back.elements, back.oxidation_states, strict=True)) == {"Li": 1.0, "O": -2.0, "H": 1.0}
    np.testing.assert_allclose(sorted(back.cart_coords[:, 2] % 4.334), sorted(crystal.cart_coords[:, 2]), atol=1e-4)


def test_states_of_the_file_are_kept(tmp_path: Path) -> None:
    decorated = Structure(Lattice.cubic(4.2), ["Fe2+", "O2-"], [(0, 0, 0), (0.5, 0.5, 0.5)])
    path = tmp_path / "decorated.cif"
    decorated.to(str(path))
    back = read_structure(path)
    assert dict(zip(back.elements, back.oxidation_states, strict=True)) == {"Fe": 2.0, "O": -2.0}


def test_given_states_win(tmp_path: Path) -> None:
    decorated = Structure(Lattice.cubic(4.2), ["Fe2+", "O2-"], [(0, 0, 0), (0.5, 0.5, 0.5)])
    path = tmp_path / "decorated.cif"
    decorated.to(str(path))
    back = read_structure(path, oxidation_states={"Fe": 1, "O": -1})
    assert dict(zip(back.elements, back.oxidation_states, strict=True)) == {"Fe": 1.0, "O": -1.0}


def test_nearly_equal_positions_are_one_atom(tmp_path: Path) -> None:
    path = write_cif(tmp_path, "Li1 Li 0 0 0 1", "F1 F 0.5 0.5 0.5 1", "F2 F 0.5001 0.5 0.5 1")
    assert read_structure(path).elements.count("F") == 1


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StructureFileError, match=r"nowhere\.cif"):
        read_structure(tmp_path / "nowhere.cif")


@pytest.mark.parametrize("name", ["broken.cif", "broken.extxyz", "POSCAR", "broken.unknown"])
def test_unreadable_file_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("this is no crystal\n")
    with pytest.raises(StructureFileError, match="cannot read a structure"):
        read_structure(path)


def test_molecule_without_cell_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "water.xyz"
    path.write_text("3\nwater\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n")
    with pytest.raises(StructureFileError, match="no complete cell"):
        read_structure(path)


def test_overlap_names_the_atoms_and_the_distance(tmp_path: Path) -> None:
    path = write_cif(tmp_path, "Li1 Li 0 0 0 1", "F1 F 0.5 0.5 0.5 1", "F2 F 0.6 0.5 0.5 1", "Li2 Li 0 0.5 0 1")
    with pytest.raises(OverlapError, match=r"F \(site \d\) and F \(site \d\) are 0\.400 angstrom"):
        read_structure(path)


def test_overlap_through_the_periodic_boundary_is_found(tmp_path: Path) -> None:
    path = write_cif(tmp_path, "Li1 Li 0 0 0.02 1", "F1 F 0 0 0.98 1")
    with pytest.raises(OverlapError, match=r"0\.160 angstrom"):
        read_structure(path)


def test_two_atoms_in_one_place_overlap(tmp_path: Path) -> None:
    path = write_cif(tmp_path, "Li1 Li 0 0 0 1", "F1 F 0 0 0 1")
    with pytest.raises(OverlapError, match="more than one atom"):
        read_structure(path)


@pytest.mark.parametrize(
    "rows", [("Li1 Li 0 0 0 0.5", "F1 F 0.5 0.5 0.5 1"), ("Ti1 Ti 0 0 0 0.85", "Al1 Al 0 0 0 0.15")]
)
def test_partial_occupancy_is_refused(rows: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(PartialOccupancyError, match=r"0\.5|0\.85"):
        read_structure(write_cif(tmp_path, *rows))


def test_unassignable_states_say_what_to_give(tmp_path: Path) -> None:
    path = write_cif(tmp_path, "Al1 Al 0 0 0 1", "Li1 Li 0.5 0.5 0.5 1")
    with pytest.raises(OxidationStateError, match="give one for each of Al, Li"):
        read_structure(path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"Li": 1}, "no oxidation state was given for F"),
        ({"Li": 1, "F": -2}, r"charge of -1"),
        ({"Li": 1, "F": -1, "Cl": -1}, "'Cl', which the file does not hold"),
    ],
)
def test_wrong_given_states_are_refused(given: dict[str, float], message: str, tmp_path: Path) -> None:
    path = write_cif(tmp_path, "Li1 Li 0 0 0 1", "F1 F 0.5 0.5 0.5 1")
    with pytest.raises(OxidationStateError, match=message):
        read_structure(path, oxidation_states=given)


def test_ase_atoms_and_pymatgen_structures_go_in_the_same_way() -> None:
    crystal = build_crystal(load_crystal("LiAlO2_gamma"))
    bare = crystal.to_pymatgen()
    bare.remove_oxidation_states()
    for taken in (from_pymatgen(bare), from_ase(crystal.to_ase()), from_ase(bare.to_ase_atoms())):
        assert taken.content_id == crystal.content_id
        assert taken.oxidation_states == crystal.oxidation_states


def test_pymatgen_structure_is_refused_by_its_name() -> None:
    bare = Structure(Lattice.cubic(4.0), ["Al", "Li"], [(0, 0, 0), (0.5, 0.5, 0.5)])
    with pytest.raises(OxidationStateError, match="mine: no oxidation states"):
        from_pymatgen(bare, name="mine")
    with pytest.raises(OxidationStateError, match="mine: no oxidation states"):
        disordered_from_pymatgen(bare, name="mine")


def test_disordered_file_keeps_its_occupancies(tmp_path: Path) -> None:
    given = build_disordered(load_crystal("LATP_x0.3"))
    bare = given.to_pymatgen()
    bare.remove_oxidation_states()
    path = tmp_path / "latp.cif"
    bare.to(str(path))
    back = read_disordered(path, oxidation_states={"Li": 1, "Al": 3, "Ti": 4, "P": 5, "O": -2})
    assert back.total_charge == pytest.approx(0.0, abs=1e-6)
    assert back.composition == pytest.approx(given.composition)
    assert len({site.label for site in back.sites}) == len({site.label for site in given.sites})
    guessed = read_disordered(path)
    assert guessed.total_charge == pytest.approx(0.0, abs=1e-6)


def test_overfull_site_is_refused() -> None:
    full = Structure(Lattice.cubic(4.0), [{"Li": 0.9}, {"F": 1.0}], [(0, 0, 0), (0.5, 0.5, 0.5)])
    assert disordered_from_pymatgen(full, oxidation_states={"Li": 1, "F": -1}).composition["Li"] == pytest.approx(0.9)
    with pytest.raises(ValueError, match=r"holds 1\.400 atoms"):
        DisorderedSite(
            label="Li1",
            frac_coords=(0.0, 0.0, 0.0),
            species=tuple(SiteSpecies(element=e, oxidation_state=1.0, occupancy=0.7) for e in ("Li", "Na")),
        )
