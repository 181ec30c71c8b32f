"""Draws the pictures of coatings.md, by ``python docs/make_coating_pictures.py [--page screening.html]``.

The lines, windows and reactions come from the shipped table. With ``--page`` the page of a screening is photographed
too, by chromium, in two widths.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import tempfile
from pathlib import Path

from surfshift.analysis.coatings.energies import TableIndex, shipped_table
from surfshift.analysis.coatings.picture import draw_lines
from surfshift.analysis.coatings.screening import Screener, Settings, formula_of
from surfshift.analysis.coatings.windows import published_windows
from surfshift.analysis.report.page import page_picture

WIDTH = 1100
PRODUCTS = {"LATP": 1.0, "AlPO4": 0.3, "LiAlO2": 0.3, "Li3PO4": 0.3}
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#aa4499"


def keep(folder: Path, name: str, png: bytes) -> None:
    """Write one picture with a palette."""
    small = page_picture(png, WIDTH)
    (folder / f"{name}.png").write_bytes(small)
    print(f"{name}: {len(small) / 1000:.0f} kB")


def lines(folder: Path) -> None:
    """What 31P and 27Al show of LATP, AlPO4 and the products, at two fields."""
    with tempfile.TemporaryDirectory() as place:
        made = draw_lines({formula_of(name): amount for name, amount in PRODUCTS.items()}, Path(place) / "lines.png")
        keep(folder, "coatings-lines", made.read_bytes())


def windows(folder: Path, screener: Screener) -> None:
    """Computed windows with their errors, and published ends."""
    from matplotlib.figure import Figure

    published = published_windows()
    figure = Figure(figsize=(10.0, 8.0), layout="constrained")
    axes = figure.subplots()
    for row, (formula, known) in enumerate(published.items()):
        window = screener.window(formula)
        ends = [(side.voltage_v or 0.0, side.error_v or 0.0) for side in (window.reduction, window.oxidation)]
        axes.barh(row, ends[1][0] - ends[0][0], left=ends[0][0], height=0.55, color=BLUE, alpha=0.55, lw=0)
        for volts, error in ends:
            axes.plot([volts - error, volts + error], [row, row], color=BLUE, lw=1.5)
        axes.plot([known.reduction_v, known.oxidation_v], [row, row], "d", color=ORANGE, ms=6)
    axes.set_yticks(range(len(published)), list(published))
    axes.invert_yaxis()
    axes.set_xlim(-0.3, 7.0)
    axes.set_xlabel("V against Li/Li+  (bars: computed, lines: one standard deviation, diamonds: published)")
    axes.grid(axis="x", alpha=0.3)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    target = io.BytesIO()
    figure.savefig(target, dpi=120)
    keep(folder, "coatings-windows", target.getvalue())


def reactions(folder: Path, screener: Screener) -> None:
    """Reaction energy of AlPO4 with three neighbours against the mixing ratio."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, colour in (("Li", ORANGE), ("Li2O", GREEN), ("LATP", PURPLE)):
        curve = screener.curve("AlPO4", formula_of(name), None)
        axes.plot(
            [k.share for k in curve.kinks],
            [k.energy_ev_per_atom for k in curve.kinks],
            "o-",
            color=colour,
            label=f"with {name}, P = {curve.probability:.2f}",
        )
        if curve.contact_ev_per_atom < -0.005:
            told = " + ".join(sorted(curve.worst.products))
            axes.annotate(
                told,
                (curve.worst.share, curve.worst.energy_ev_per_atom),
                (8, -4),
                textcoords="offset points",
                fontsize=9,
            )
    axes.set_xlabel("share of AlPO4 (by atoms)")
    axes.set_ylabel("eV per atom")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    target = io.BytesIO()
    figure.savefig(target, dpi=120)
    keep(folder, "coatings-reactions", target.getvalue())


def page(folder: Path, path: Path) -> None:
    """The page of a screening in a window of 1280 and one of 400 pixels."""
    for name, size in (("coatings-page", "1280,3400"), ("coatings-page-narrow", "400,1800")):
        with tempfile.TemporaryDirectory() as place:
            shot = Path(place) / "page.png"
            subprocess.run(
                [
                    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                    "--disable-background-networking", "--disable-component-update", "--disable-sync",
                    "--hide-scrollbars", f"--user-data-dir={place}/profile", f"--screenshot={shot}",
                    f"--window-size={size}", f"{path.resolve().as_uri()}#AlPO4",
                ],
                check=True,
                capture_output=True,
            )  # fmt: skip
            keep(folder, name, shot.read_bytes())


def main() -> None:
    """Draw all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, help="page of a screening")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    options = parser.parse_args()
    screener = Screener(TableIndex(shipped_table()), Settings())
    lines(options.out)
    windows(options.out, screener)
    reactions(options.out, screener)
    if options.page:
        page(options.out, options.page)


if __name__ == "__main__":
    main()
