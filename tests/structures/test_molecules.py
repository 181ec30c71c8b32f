"""Molecules: neutral, bonds of sensible length, oxidation states of the textbook, the kept ones as RDKit makes them."""

import numpy as np
import pytest
from surfshift.structures.bonding import covalent_distance
from surfshift.structures.decorations.adsorption import lithium_carbonate_unit
from surfshift.structures.molecules import Molecule, MoleculeError, load_molecule, molecule_from_smiles, molecule_names


@pytest.mark.parametrize("name", molecule_names())
def test_kept_molecules_are_whole_and_as_made(name: str) -> None:
    molecule = load_molecule(name)
    for bond in molecule.bonds:
        length = np.linalg.norm(molecule.coords[bond.i] - molecule.coords[bond.j])
        radii = covalent_distance(molecule.elements[bond.i], molecule.elements[bond.j])
        assert 0.8 * radii < length < 1.15 * radii
    assert len(molecule.branch(0, -1)) == len(molecule.elements), "one connected molecule"
    assert Molecule.model_validate_json(molecule.model_dump_json()) == molecule
    smiles = molecule.source.split()[1].rstrip(",")
    again = molecule_from_smiles(smiles)
    assert again.elements == molecule.elements
    assert again.oxidation_states == molecule.oxidation_states


@pytest.mark.parametrize(
    ("smiles", "element", "expected"),
    [("COC", "C", {-2.0}), ("O", "O", {-2.0}), ("C", "C", {-4.0}), ("OC=O", "C", {2.0}), ("C[Si](C)(C)C", "Si", {4.0})],
)
def test_oxidation_states_are_those_of_the_textbook(smiles: str, element: str, expected: set[float]) -> None:
    molecule = molecule_from_smiles(smiles)
    assert {q for e, q in zip(molecule.elements, molecule.oxidation_states, strict=True) if e == element} == expected
    assert sum(molecule.oxidation_states) == pytest.approx(0.0)


def test_the_same_smiles_gives_the_same_conformer() -> None:
    assert molecule_from_smiles("COCCOC") == molecule_from_smiles("COCCOC")


def test_an_ester_binds_with_its_carbonyl() -> None:
    molecule = load_molecule("methyl_hexanoate")
    assert any(b.order == 2 for b in molecule.bonds if molecule.anchor in (b.i, b.j))


@pytest.mark.parametrize("smiles", ["not a smiles", "[Li+]", "C.C", "[CH3]"])
def test_what_is_no_neutral_molecule_is_refused(smiles: str) -> None:
    with pytest.raises(MoleculeError, match=r"SMILES|neutral"):
        molecule_from_smiles(smiles)


def test_a_mistyped_name_gets_the_nearest() -> None:
    with pytest.raises(MoleculeError, match="did you mean 'diglyme'"):
        load_molecule("diglime")


def test_lithium_carbonate_has_its_bonds() -> None:
    unit = lithium_carbonate_unit()
    distances = np.linalg.norm(unit.coords[:, None] - unit.coords[None], axis=2)
    assert distances[0, 1:4] == pytest.approx([1.29] * 3)
    for lithium in (4, 5):
        assert np.sort(distances[lithium, 1:4])[:2] == pytest.approx([1.88, 1.88])
