import numpy as np
import pytest
from surfshift.analysis.coatings.interface_lines import InterfaceLineError, interface_lines
from surfshift.analysis.match_library import CandidateTensors
from surfshift.analysis.reference_fit import wide_reference
from surfshift.analysis.references import available_libraries
from surfshift.analysis.vocabulary import SiteTensors
from surfshift.structures.enumeration import bulk_candidate
from surfshift.structures.interfaces import InterfaceSettings, build_interfaces
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.slabs import cut_slabs

SHIPPED = next(library for library in available_libraries() if library.method.protocol == "fast")


def tensors_of(candidate, shieldings):
    """Tensors of the lithium atoms, one value each; made for these tests."""
    return tuple(
        SiteTensors(
            structure_id=candidate.structure.content_id,
            element="Li",
            atom_indices=(atom,),
            shielding_ppm=(tuple(map(tuple, sigma * np.eye(3))),),
            efg_au=(tuple(map(tuple, np.zeros((3, 3)))),),
            method=SHIPPED.method,
        )
        for atom, sigma in shieldings.items()
    )


@pytest.fixture(scope="module")
def interface():
    chloride, fluoride = (build_crystal(load_crystal(name)) for name in ("LiCl", "LiF"))
    substrates = cut_slabs(chloride, (1, 0, 0), thickness_ang=5.0, parent="LiCl")
    films = cut_slabs(fluoride, (1, 0, 0), thickness_ang=4.0, parent="LiF")
    return build_interfaces(substrates, films, InterfaceSettings(max_strain=0.05, max_area_ang2=125.0, n_shifts=1))[0]


def test_lines_say_their_side_and_whether_they_are_at_the_contact(interface, tmp_path):
    record = interface.interface_record
    lithium = [k for k, element in enumerate(interface.structure.elements) if element == "Li"]
    shieldings = {atom: 90.0 - 0.5 * number for number, atom in enumerate(lithium)}
    path = tmp_path / "interface.json"
    path.write_text(CandidateTensors(candidate=interface, tensors=tensors_of(interface, shieldings)).model_dump_json())
    lines = interface_lines([path])
    assert len(lines) == len(lithium)
    reference = wide_reference("7Li", SHIPPED.method)  # none is shipped for lithium
    for line, atom in zip(lines, lithium, strict=True):
        assert line.side == record.layers[atom].value
        assert line.is_near == (atom in record.near_interface)
        expected = reference.intercept_ppm + reference.slope * shieldings[atom]
        assert line.delta_ppm == pytest.approx(expected, abs=0.02)
        assert line.delta_error_ppm > 0
        assert line.origin == reference.note
    assert {line.side for line in lines} == {"film", "substrate"}
    assert {line.is_near for line in lines} == {True, False}


def test_a_bulk_is_no_interface(tmp_path):
    bulk = bulk_candidate("LiF")
    path = tmp_path / "bulk.json"
    path.write_text(CandidateTensors(candidate=bulk, tensors=tensors_of(bulk, {0: 90.0})).model_dump_json())
    with pytest.raises(InterfaceLineError, match="none of the candidates"):
        interface_lines([path])
    assert interface_lines([]) == ()
