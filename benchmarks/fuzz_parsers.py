"""Damage real output files at random and read them: only named errors may come out, and soon.

python benchmarks/fuzz_parsers.py --data ../shared/data/parsers --mutations 100000
"""

from __future__ import annotations

import argparse
import random
import re
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import ase
import ase.io
import numpy as np
from surfshift.analysis.tensor_files.castep import parse_castep_output
from surfshift.analysis.tensor_files.magres import parse_magres
from surfshift.analysis.tensor_files.qe import parse_gipaw_output, parse_pw_output
from surfshift.analysis.tensor_files.vasp import parse_outcar
from surfshift.structures.errors import SurfshiftError
from surfshift.structures.vocabulary import AtomicStructure, as_tensor3
from surfshift.workflows.engines.dft.castep import parse_castep
from surfshift.workflows.engines.dft.vasp import parse_vasp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from surfshift.workflows.engines.dft.results import SinglePoint

TOKENS = (
    b"NaN",
    b"*****",
    b"**********",
    b"Infinity",
    b"1e999",
    b"-",
    b"\x00",
    b"\xff\xfe",
    b"0",
    b"-1",
    b"999999999",
    b"",
)


class Target(NamedTuple):
    """A file to damage and the function that reads it; ``share`` is its part of all mutations."""

    name: str
    data: bytes
    parse: Callable[[str], object]
    share: float = 1.0


class Tally(NamedTuple):
    """What came of one target's damaged copies."""

    outcomes: Counter[str]
    slowest_seconds: float
    total_seconds: float
    unnamed: list[str]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """One damaged copy: 1 to 4 of flipped bytes, cuts, doubled or swapped pieces, and bad tokens."""
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if not damaged:
            break
        at = rng.randrange(len(damaged))
        kind = rng.randrange(8)
        if kind == 0:
            damaged[at] = rng.randrange(256)
        elif kind == 1:
            del damaged[at:]
        elif kind == 2:
            del damaged[at : at + rng.randrange(1, 2000)]
        elif kind == 3:
            damaged[at:at] = damaged[at : at + rng.randrange(1, 2000)]
        elif kind == 4:
            start, end = word_at(damaged, at)
            damaged[start:end] = rng.choice(TOKENS)
        elif kind == 5:
            start = damaged.rfind(b"\n", 0, at) + 1
            end = damaged.find(b"\n", at)
            del damaged[start : end + 1 if end >= 0 else len(damaged)]
        elif kind == 6:
            other = rng.randrange(len(damaged))
            size = rng.randrange(1, 200)
            damaged[at : at + size], damaged[other : other + size] = (
                damaged[other : other + size],
                damaged[at : at + size],
            )
        else:
            digits = [i for i in range(at, min(at + 400, len(damaged))) if 48 <= damaged[i] <= 57]
            if digits:
                damaged[rng.choice(digits)] = rng.randrange(48, 58)
    return bytes(damaged)


def word_at(data: bytearray, at: int) -> tuple[int, int]:
    """Start and end of the word around a place."""
    start, end = at, at
    while start > 0 and data[start - 1] not in b" \n\t":
        start -= 1
    while end < len(data) and data[end] not in b" \n\t":
        end += 1
    return start, max(end, start + 1)


def fuzz(target: Target, n_mutations: int, seed: int) -> Tally:
    """Read ``n_mutations`` damaged copies; anything but a result or a ``SurfshiftError`` is unnamed."""
    rng = random.Random(f"{seed} {target.name}")
    outcomes: Counter[str] = Counter()
    unnamed: list[str] = []
    slowest, began = 0.0, time.process_time()
    for _ in range(n_mutations):
        damaged = mutate(target.data, rng)
        started = time.process_time()
        try:
            target.parse(damaged.decode("utf-8", errors="replace"))
        except SurfshiftError as error:
            outcomes[type(error).__name__] += 1
        except Exception as error:
            outcomes["UNNAMED"] += 1
            unnamed.append(f"{target.name}: {type(error).__name__}: {error}")
        else:
            outcomes["read"] += 1
        slowest = max(slowest, time.process_time() - started)
    return Tally(outcomes, slowest, time.process_time() - began, unnamed)


ITERATIONS = re.compile(rb"^(?!  free  energy)[^\n]*(?:LOOP|cpu time|TOTEN|band No|eigenvalue)[^\n]*\n", re.MULTILINE)
"""As in ``UNREAD``, without the energy itself."""

UNREAD = (
    re.compile(rb"^\[magres_old\].*?^\[/magres_old\]\n", re.MULTILINE | re.DOTALL),
    re.compile(rb"^ *(?:isc|efg_|units isc)[^\n]*\n", re.MULTILINE),
    re.compile(rb"^ *MAGNETIC FIELD .*?(?=^ KPOINTS|^ Absolute)", re.MULTILINE | re.DOTALL),
    re.compile(rb"^ POTCAR:.*?(?=^   VRHFIN)", re.MULTILINE | re.DOTALL),
    re.compile(rb"^   LULTRA.*?(?=^ POTCAR:|^   VRHFIN|^ *position of ions)", re.MULTILINE | re.DOTALL),
    re.compile(rb"^[^\n]*(?:LOOP|cpu time|TOTEN|band No|eigenvalue)[^\n]*\n", re.MULTILINE),
    re.compile(rb"^ k-point .*?\n\n", re.MULTILINE | re.DOTALL),
    re.compile(rb"^ ion +\d+\n xx .*?\n\n\n", re.MULTILINE | re.DOTALL),
)


def essential(data: bytes) -> bytes:
    """A file without long parts that no reader looks at, so that damage hits what is read."""
    for pattern in UNREAD:
        data = pattern.sub(b"", data)
    return data


def single_points(folder: Path) -> Iterator[Target]:
    """Outputs of one geometry, whose energy and forces are read: the OUTCARs, and the CASTEP run that ase brings."""
    for path in sorted(folder.rglob("*OUTCAR")):
        run = parse_outcar(path.read_text(encoding="utf-8", errors="replace"))
        structure = run.structure(oxidation_states=dict.fromkeys(set(run.elements), 0.0))
        data = path.read_bytes()
        for pattern in (*UNREAD[2:5], ITERATIONS, *UNREAD[6:]):
            data = pattern.sub(b"", data)
        data = re.sub(rb"^ *Absolute Chemical Shift.*?(?=^ *General timing)", b"", data, flags=re.MULTILINE | re.DOTALL)
        yield _single_point(f"{path.name}, energy and forces", data, parse_vasp, structure)
    castep = Path(ase.__file__).parent / "test" / "testdata" / "castep" / "md.castep"
    if castep.is_file():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            atoms: Any = ase.io.read(castep, format="castep-castep")
        structure = AtomicStructure(
            lattice_ang=as_tensor3(np.array(atoms.cell)),
            elements=tuple(atoms.get_chemical_symbols()),
            frac_coords=tuple((float(x), float(y), float(z)) for x, y, z in atoms.get_scaled_positions()),
            oxidation_states=(0.0,) * len(atoms),
        )
        yield _single_point("md.castep of ase, energy and forces", castep.read_bytes(), parse_castep, structure)


def _single_point(name: str, data: bytes, parse: Callable[..., SinglePoint], structure: AtomicStructure) -> Target:
    def read(text: str) -> SinglePoint:
        return parse(text, structure, with_stress=True)

    read(data.decode("utf-8", errors="replace"))
    return Target(name, data, read, share=1.0 / min(max(len(data), 8_000), 60_000))


def targets(folder: Path) -> Iterator[Target]:
    """The files of the shared data, each with its reader."""
    readers: dict[str, Callable[[str], object]] = {
        "*.magres": parse_magres,
        "*-nmr.out": parse_gipaw_output,
        "*-efg.out": parse_gipaw_output,
        "*-scf.out": parse_pw_output,
        "*.castep": parse_castep_output,
        "*OUTCAR": parse_outcar,
    }
    for pattern, parse in readers.items():
        for path in sorted(folder.rglob(pattern)):
            data = essential(path.read_bytes())
            parse(data.decode("utf-8", errors="replace"))  # undamaged it must be readable
            # a long file takes long to read, so it gets fewer copies
            yield Target(
                path.relative_to(folder).as_posix(), data, parse, share=1.0 / min(max(len(data), 8_000), 60_000)
            )


def main() -> None:
    """Damage every file and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of output files")
    parser.add_argument("--mutations", type=int, default=100_000, help="in all, shared between the files")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="only files whose name holds this")
    options = parser.parse_args()
    chosen = [*targets(options.data), *single_points(options.data)]
    chosen = [target for target in chosen if options.only in target.name]
    whole = sum(target.share for target in chosen)
    unnamed: list[str] = []
    print("| file | mutations | read | refused by name | unnamed | slowest (CPU s) | mean (CPU ms) |")
    print("|---|---|---|---|---|---|---|")
    for target in chosen:
        count = round(options.mutations * target.share / whole)
        tally = fuzz(target, count, options.seed)
        refused = count - tally.outcomes["read"] - tally.outcomes["UNNAMED"]
        print(
            f"| {target.name} | {count} | {tally.outcomes['read']} | {refused} | {tally.outcomes['UNNAMED']} | "
            f"{tally.slowest_seconds:.2f} | {1000 * tally.total_seconds / count:.1f} |",
            flush=True,
        )
        unnamed += tally.unnamed
    print("\n".join(sorted(set(unnamed))[:40]))
    raise SystemExit(1 if unnamed else 0)


if __name__ == "__main__":
    main()
