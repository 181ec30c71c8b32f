"""Amorphous AlPO4 by melt and quench with SevenNet; resumes where it stopped.

python benchmarks/melt_quench.py FOLDER              # run or go on
python benchmarks/melt_quench.py FOLDER --write OUT  # relax the end and write the library's snapshot (JSON)
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from surfshift.workflows.melt_quench import MeltQuenchSettings, melt_quench, random_phosphate
from surfshift.workflows.relaxation import sevennet

MODEL = "7net-0"
DENSITY_G_CM3 = 2.30


def main() -> None:
    """Run the melt-quench, and write its snapshot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--formula-units", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--melt-k", type=float, default=3000.0)
    parser.add_argument("--melt-steps", type=int, default=150)
    parser.add_argument("--quench-steps", type=int, default=450)
    parser.add_argument("--timestep-fs", type=float, default=3.0)
    given = parser.parse_args()
    settings = MeltQuenchSettings(
        seed=given.seed,
        melt_k=given.melt_k,
        melt_steps=given.melt_steps,
        quench_steps=given.quench_steps,
        timestep_fs=given.timestep_fs,
    )
    start = random_phosphate(given.formula_units, DENSITY_G_CM3, seed=given.seed)
    began = time.perf_counter()
    melt_quench(start, settings, given.folder, sevennet(MODEL))
    print(f"quench at {settings.quench_rate_k_per_ps:.0f} K/ps done, {time.perf_counter() - began:.0f} s in this call")


if __name__ == "__main__":
    main()
