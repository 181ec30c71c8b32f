"""Inputs of the periodic engines: golden files, documented keywords, and what a slab needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pymatgen.core.structure import Structure
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar
from surfshift.analysis.constants import default_isotope
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.vocabulary import AtomicStructure, Candidate, Region
from surfshift.workflows.engines.inputs import (
    InputError,
    InputFiles,
    castep_inputs,
    castep_protocol,
    kpoint_grid,
    periodic_protocol_names,
    qe_inputs,
    qe_protocol,
    vasp_inputs,
    vasp_protocol,
)
from surfshift.workflows.engines.inputs.protocols import protocol_data
from surfshift.workflows.engines.inputs.qe import has_wrong_efg
from surfshift.workflows.engines.inputs.upf import MissingPotentialError, find_upf, read_upf
from surfshift.workflows.engines.protocols import UnknownProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parent / "golden"
BULK = build_crystal(load_crystal("AlPO4_berlinite"))


def bulk() -> Candidate:
    return Candidate(
        name="AlPO4 bulk", kind="bulk", structure=BULK, parent="AlPO4_berlinite", regions=(Region.BULK,) * len(BULK)
    )


def slab() -> Candidate:
    """Berlinite with vacuum along its third vector and a dipole, as far as an input file is concerned a slab."""
    lattice = BULK.lattice * [[1.0], [1.0], [2.0]]
    frac = tuple((x, y, 0.5 * (z % 1.0) + 0.1) for x, y, z in BULK.frac_coords)
    structure = BULK.model_copy(
        update={
            "lattice_ang": tuple(tuple(float(x) for x in row) for row in lattice),
            "frac_coords": frac,
            "periodic": (True, True, False),
        }
    )
    return Candidate(
        name="AlPO4(001)-t0 $(rm -rf x)",
        kind="slab",
        structure=structure,
        parent="AlPO4_berlinite",
        miller=(0, 0, 1),
        regions=(Region.SURFACE,) * len(structure),
        dipole_e_ang=1.3,
    )


def write_upf(folder: Path, element: str, *, gipaw: bool = True, functional: str = "PBE") -> Path:
    """The parts of a UPF file that are looked at; nothing here can be computed with."""
    path = folder / f"{element}.{functional.lower()}-gipaw.UPF"
    header = f'<UPF version="2.0.1">\n<PP_HEADER\n element="{element:<2}"\n functional="{functional}"\n/>\n'
    path.write_text(header + ('<PP_GIPAW gipaw_data_format="2">\n</PP_GIPAW>\n' if gipaw else "") + "</UPF>\n")
    return path


@pytest.fixture
def upf_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pseudo").mkdir()
    for element in ("Al", "P", "O", "H"):
        write_upf(tmp_path / "pseudo", element)
    monkeypatch.chdir(tmp_path)
    return Path("pseudo")


def all_inputs(candidate: Candidate, protocol: str, folder: Path) -> dict[str, InputFiles]:
    return {
        "vasp": vasp_inputs(candidate, vasp_protocol(protocol)),
        "castep": castep_inputs(candidate, castep_protocol(protocol)),
        "qe": qe_inputs(candidate, qe_protocol(protocol), folder),
    }


@pytest.mark.parametrize("make", [bulk, slab])
@pytest.mark.parametrize("engine", ["vasp", "castep", "qe"])
def test_golden_files(make: Callable[[], Candidate], engine: str, upf_folder: Path) -> None:
    inputs = all_inputs(make(), "balanced" if make is bulk else "fast", upf_folder)[engine]
    text = "".join(f"=== {name}\n{content}" for name, content in inputs.files.items())
    assert text == (GOLDEN / f"{engine}-{make.__name__}.txt").read_text()


def written_keywords(engine: str, inputs: InputFiles) -> dict[str, set[str]]:
    """Keywords of every file, taken from the text as the program would."""
    if engine == "vasp":
        return {"incar": {line.split("=")[0].strip() for line in inputs.files["INCAR"].splitlines()}}
    if engine == "castep":
        cell = re.findall(r"^(?:%BLOCK )?([A-Z_]+)(?: :.*)?$", inputs.files["nmr.cell"], flags=re.MULTILINE)
        return {"cell": set(cell), "param": set(re.findall(r"^([A-Z_]+) :", inputs.files["nmr.param"], re.MULTILINE))}
    pattern = re.compile(r"^    (\w+)(?:\(\d+\))? = ", re.MULTILINE)
    gipaw = inputs.files["nmr-nmr.in"] + inputs.files["nmr-efg.in"]
    return {"pw": set(pattern.findall(inputs.files["nmr-scf.in"])), "gipaw": set(pattern.findall(gipaw))}


@pytest.mark.parametrize("make", [bulk, slab])
@pytest.mark.parametrize("protocol", periodic_protocol_names())
@pytest.mark.parametrize("engine", ["vasp", "castep", "qe"])
def test_only_documented_keywords_are_written(
    make: Callable[[], Candidate], protocol: str, engine: str, upf_folder: Path
) -> None:
    documented = protocol_data("keywords")[engine]
    for section, words in written_keywords(engine, all_inputs(make(), protocol, upf_folder)[engine]).items():
        assert len(words) >= 4
        assert words <= set(documented[section])


def test_pymatgen_reads_the_vasp_inputs_and_knows_their_tags(tmp_path: Path) -> None:
    candidate = slab()
    inputs = vasp_inputs(candidate, vasp_protocol("balanced"))
    inputs.write(tmp_path)
    incar = Incar.from_file(tmp_path / "INCAR")
    incar.check_params()
    assert (incar["LCHIMAG"], incar["LEFG"], incar["ISMEAR"], incar["NSW"]) == (True, True, 0, 0)
    assert Kpoints.from_file(tmp_path / "KPOINTS").kpts[0] == kpoint_grid(candidate.structure, 0.05)
    back = Poscar.from_file(tmp_path / "POSCAR").structure
    assert isinstance(back, Structure)
    for written, k in zip(back, inputs.order, strict=True):
        assert written.specie.symbol == candidate.structure.elements[k]
        np.testing.assert_allclose(written.frac_coords, candidate.structure.frac_coords[k], atol=1e-12)


def test_vasp_gets_one_moment_and_one_potential_per_species_from_our_table() -> None:
    mixed = BULK.model_copy(
        update={
            "elements": BULK.elements[::-1],
            "frac_coords": BULK.frac_coords[::-1],
            "oxidation_states": BULK.oxidation_states[::-1],
        }
    )
    candidate = bulk().model_copy(update={"structure": mixed})
    inputs = vasp_inputs(candidate, vasp_protocol("fast"))
    species = inputs.files["POSCAR"].splitlines()[5].split()
    moments = re.search(r"QUAD_EFG = (.*)", inputs.files["INCAR"])
    assert moments is not None
    expected = [1000.0 * default_isotope(element).quadrupole_barn for element in species]
    assert [float(x) for x in moments.group(1).split()] == pytest.approx(expected)
    assert inputs.files["POTCAR.spec"].split() == species
    assert sorted(inputs.order) == list(range(len(mixed)))


def test_potcar_choice_is_that_of_pymatgen() -> None:
    import pymatgen.io.vasp
    import yaml

    base = yaml.safe_load((Path(pymatgen.io.vasp.__file__).parent / "PBE54Base.yaml").read_text())["POTCAR"]
    for element, symbol in protocol_data("vasp")["potentials"].items():
        assert base[element] == symbol


def test_a_slab_has_one_kpoint_along_its_normal_and_a_dipole_correction(upf_folder: Path) -> None:
    files = {
        name: text
        for inputs in all_inputs(slab(), "balanced", upf_folder).values()
        for name, text in inputs.files.items()
    }
    grid = kpoint_grid(slab().structure, 0.05)
    assert grid[2] == 1
    assert grid[0] > 1
    for name in ("KPOINTS", "nmr.cell", "nmr-scf.in"):
        assert f"{grid[0]} {grid[1]} 1" in files[name]
    assert "IDIPOL = 3" in files["INCAR"]
    assert "DIPOLE_DIR : c" in files["nmr.param"]
    assert "edir = 3" in files["nmr-scf.in"]
    peak = re.search(r"emaxpos = ([\d.]+)", files["nmr-scf.in"])
    assert peak is not None
    heights = np.array(slab().structure.frac_coords)[:, 2] % 1.0
    assert not np.any((heights > float(peak.group(1)) - 0.05) & (heights < float(peak.group(1)) + 0.1))
    symmetric = slab().model_copy(update={"dipole_e_ang": 0.0})
    assert "DIPOL" not in vasp_inputs(symmetric, vasp_protocol()).files["INCAR"]
    assert "DIPOLE" not in castep_inputs(symmetric, castep_protocol()).files["nmr.param"]


def test_kpoints_follow_the_reciprocal_heights() -> None:
    grid = kpoint_grid(BULK, 0.05)
    heights = np.linalg.norm(np.linalg.inv(BULK.lattice), axis=0)
    for divisions, height in zip(grid, heights, strict=True):
        assert height / divisions <= 0.05 + 1e-9 < height / max(divisions - 1, 1e-9)
    doubled = BULK.model_copy(update={"lattice_ang": tuple(tuple(2.0 * x for x in row) for row in BULK.lattice_ang)})
    assert all(b <= a for a, b in zip(grid, kpoint_grid(doubled, 0.05), strict=True))


def test_hostile_names_stay_text(upf_folder: Path) -> None:
    for inputs in all_inputs(slab(), "fast", upf_folder).values():
        assert not any("$" in text or "`" in text for text in inputs.files.values())
    for bad in ("../x", "a b", "$(x)", "", "-rf"):
        with pytest.raises(InputError, match="plain file name"):
            castep_inputs(bulk(), castep_protocol(), seed=bad)
        with pytest.raises(InputError, match="plain file name"):
            qe_inputs(bulk(), qe_protocol(), upf_folder, prefix=bad)
    with pytest.raises(InputError, match="no place in an input file"):
        vasp_inputs(bulk(), vasp_protocol(), extra={"ALGO": "All\nNSW = 5"})


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"LAPSH": 1}, "did you mean 'LASPH'"),
        ({"ISMEAR": -5}, "insulators"),
        ({"NSW": 10}, "static run"),
        ({"ENCUT": 400}, "override the protocol's key"),
    ],
)
def test_extra_keywords_are_checked(extra: dict[str, int], words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        vasp_inputs(bulk(), vasp_protocol(), extra=extra)
    assert "NCORE = 4" in vasp_inputs(bulk(), vasp_protocol(), extra={"ncore": 4}).files["INCAR"]


def test_protocols_state_only_differences_and_refuse_what_does_not_fit() -> None:
    for engine, load in (("vasp", vasp_protocol), ("castep", castep_protocol), ("qe", qe_protocol)):
        data = protocol_data(engine)
        assert tuple(data["protocols"]) == ("fast", "balanced", "stringent")
        for name, own in data["protocols"].items():
            assert all(data["defaults"].get(key) != value for key, value in own.items())
            assert load(name).description
            assert load(name).convergence
        hashes = {load(name).hash for name in data["protocols"]}
        assert len(hashes) == 3
        assert load("fast", kpoint_spacing_per_ang=0.06).hash not in hashes
        with pytest.raises(UnknownProtocolError, match="did you mean 'balanced'"):
            load("balancd")
        with pytest.raises(UnknownProtocolError, match="did you mean 'functional'"):
            load("fast", functionl="pbe")
        with pytest.raises(UnknownProtocolError, match="functional = 'b3lyp'"):
            load("fast", functional="b3lyp")


def test_missing_potcar_choice_is_named() -> None:
    elements = tuple("Hf" if e == "P" else e for e in BULK.elements)
    candidate = bulk().model_copy(update={"structure": BULK.model_copy(update={"elements": elements})})
    with pytest.raises(InputError, match="no POTCAR is chosen for Hf"):
        vasp_inputs(candidate, vasp_protocol())
    assert "Hf_pv" in vasp_inputs(candidate, vasp_protocol(), potentials={"Hf": "Hf_pv"}).files["POTCAR.spec"]


def test_upf_files_are_told_apart(upf_folder: Path) -> None:
    assert set(find_upf(upf_folder, ["P", "O"])) == {"P", "O"}
    write_upf(upf_folder, "Si", gipaw=False)
    with pytest.raises(MissingPotentialError, match=r"Si \(Si\.pbe-gipaw\.UPF has no GIPAW data\), Zr \(no file\)"):
        find_upf(upf_folder, ["Si", "Zr", "O"])
    (upf_folder / "Ga.UPF").write_text("not a pseudopotential")
    with pytest.raises(MissingPotentialError, match="no UPF pseudopotential"):
        read_upf(upf_folder / "Ga.UPF")
    with pytest.raises(MissingPotentialError, match="SURFSHIFT_UPF_DIR"):
        find_upf(upf_folder / "none", ["O"])


def test_another_functional_is_warned_of(upf_folder: Path) -> None:
    write_upf(upf_folder, "Al", functional="SLA PW PSX PSC")
    for path in upf_folder.glob("Al.pbe-*"):
        path.unlink()
    warnings = qe_inputs(bulk(), qe_protocol(), upf_folder).warnings
    assert any("SLA PW PSX PSC" in text for text in warnings)
    assert not any(
        "PSX" in text
        for text in qe_inputs(bulk(), qe_protocol(functional="pbesol"), upf_folder).warnings
        if "Al" in text
    )


def test_long_oblique_cells_are_warned_of(upf_folder: Path) -> None:
    def cell(*rows: tuple[float, float, float]) -> AtomicStructure:
        return BULK.model_copy(update={"lattice_ang": rows})

    long_oblique = cell((5.0, 0.0, 0.0), (-2.5, 4.33, 0.0), (0.0, 0.0, 25.0))
    assert has_wrong_efg(long_oblique)
    assert not has_wrong_efg(cell((5.0, 0.0, 0.0), (0.0, 8.66, 0.0), (0.0, 0.0, 25.0)))
    assert not has_wrong_efg(BULK)
    candidate = bulk().model_copy(update={"structure": long_oblique})
    assert any("issue 26" in text for text in qe_inputs(candidate, qe_protocol(), upf_folder).warnings)
