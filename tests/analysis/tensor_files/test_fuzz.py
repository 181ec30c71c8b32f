"""Damaged files of every kind: only named errors. The long run is benchmarks/fuzz_parsers.py."""

from __future__ import annotations

import importlib.util
import random
import sys
from typing import TYPE_CHECKING, Any

import pytest
from surfshift.analysis.tensor_files import errors, magres_text
from surfshift.analysis.tensor_files.castep import parse_castep_output
from surfshift.analysis.tensor_files.magres import parse_magres
from surfshift.analysis.tensor_files.qe import parse_gipaw_output, parse_pw_output
from surfshift.analysis.tensor_files.vasp import parse_outcar

if TYPE_CHECKING:
    from pathlib import Path

    from surfshift.analysis.tensor_files import PeriodicTensors

READERS = {
    "outcar": parse_outcar,
    "nmr": parse_gipaw_output,
    "efg": parse_gipaw_output,
    "castep": parse_castep_output,
    "pw": parse_pw_output,
    "magres": parse_magres,
}


@pytest.fixture(scope="module")
def fuzzer(repo_root: Path) -> Any:
    spec = importlib.util.spec_from_file_location("fuzz_parsers", repo_root / "benchmarks" / "fuzz_parsers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_parsers"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", READERS)
def test_damaged_text_gives_named_errors_only(
    fuzzer: Any, run: PeriodicTensors, texts: dict[str, str], kind: str
) -> None:
    text = magres_text(run) if kind == "magres" else texts[kind]
    target = fuzzer.Target(kind, text.encode(), READERS[kind])
    tally = fuzzer.fuzz(target, 400, seed=1)
    assert tally.unnamed == []
    # the damage is real: a good part is refused
    assert tally.outcomes["read"] < 360


def test_damaged_bytes_differ_from_the_original(fuzzer: Any) -> None:
    rng = random.Random(3)
    data = b"a line with 12.5 numbers\n" * 200
    assert sum(fuzzer.mutate(data, rng) != data for _ in range(200)) > 180


@pytest.mark.parametrize("kind", [k for k in READERS if k not in {"magres", "castep"}])
def test_every_cut_is_refused(texts: dict[str, str], kind: str) -> None:
    text = texts[kind].rstrip()
    marker = {"outcar": "General timing"}.get(kind, "JOB DONE")
    end = text.index(marker)
    for length in range(0, end, max(1, end // 60)):
        with pytest.raises(errors.TensorFileError):
            READERS[kind](text[:length])


def test_every_cut_of_a_magres_file_is_refused(run: PeriodicTensors) -> None:
    text = magres_text(run).rstrip()
    for length in range(0, len(text), 97):
        with pytest.raises(errors.TensorFileError):
            parse_magres(text[:length])
