"""What the commands ``spectrum`` and ``reference`` do; the command line only passes its options on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..structures.errors import SurfshiftError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ..analysis.spectra_io import Readout
    from ..analysis.vocabulary import Method, Reference


class OptionError(SurfshiftError):
    """Options of a command that do not go together."""


def describe_spectrum(readout: Readout) -> list[str]:
    """Lines that say what was read."""
    from ..analysis.spectra_io import find_lines

    spectrum = readout.spectrum
    low, high = spectrum.axis_ppm[0], spectrum.axis_ppm[-1]
    tallest = max(map(abs, spectrum.intensity))
    found = find_lines(spectrum)
    lines = [
        f"{spectrum.name} ({readout.raw.file_format})",
        f"nucleus     {spectrum.isotope}",
        f"field       {spectrum.field_tesla:.4g} T",
        f"spinning    {spectrum.mas_rate_hz:g} Hz" if spectrum.mas_rate_hz else "spinning    static",
        f"experiment  {spectrum.experiment.value}",
        f"points      {len(spectrum.axis_ppm)}, {high:.2f} to {low:.2f} ppm",
        f"noise       {spectrum.noise:.4g} per point, tallest point {tallest / spectrum.noise:.0f} times that",
    ]
    for k, line in enumerate(found[:8]):
        head = "maxima      " if k == 0 else "            "
        lines.append(
            f"{head}{line.position_ppm:8.2f} ppm, width {line.width_ppm:.2f} ppm, "
            f"{line.height_over_noise:.0f} times the noise"
        )
    if len(found) > 8:
        lines.append(f"            and {len(found) - 8} more")
    return [*lines, *(f"note        {note}" for note in spectrum.notes)]


def method_from(engine: str, functional: str, protocol: str, version: str, protocol_hash: str) -> Method:
    """The method that options name; that of the embedded engine is filled in from its protocol.

    Raises
    ------
    OptionError
        If the functional is missing for an engine other than the embedded one.
    """
    from ..analysis.vocabulary import Method

    if engine == "cluster" and not protocol_hash:
        from .engines.cluster import method_of
        from .engines.protocols import load_protocol

        return method_of(load_protocol(protocol))
    if not functional:
        raise OptionError(
            f"engine {engine!r} needs --functional (PBE, PBEsol ...): a reference belongs to one engine, functional "
            "and protocol"
        )
    return Method(
        engine=engine,
        engine_version=version,
        functional=functional,
        protocol=protocol,
        protocol_hash=protocol_hash or protocol,
    )


def make_references(
    table: Path | None, isotopes: list[str], method: Method, folder: Path | None, say: Callable[[str], None]
) -> list[Reference]:
    """References from a CSV table, or from the computed tensors on file.

    Raises
    ------
    OptionError
        If a table is given with more than one isotope.
    SurfshiftError
        As the readers and fits.
    """
    from ..analysis.reference_table import read_reference_table, reference_from_table
    from ..analysis.references import load_reference

    if table is not None and len(isotopes) != 1:
        raise OptionError(f"a table holds one isotope, {len(isotopes)} were given; call once per isotope")
    made = []
    for isotope in isotopes:
        couplings = None
        if table is None:
            reference = load_reference(isotope, method, folder=folder)
        else:
            reference, couplings = reference_from_table(isotope, method, read_reference_table(table, method))
        made.append(reference)
        for line in describe_reference(reference):
            say(line)
        if couplings is not None:
            tails = "normal" if couplings.dof is None else f"{couplings.dof:.1f} degrees of freedom"
            say(
                f"  couplings: published = {couplings.factor:.3f} +/- {couplings.factor_error:.3f} times computed, "
                f"error {couplings.error_mhz:.2f} MHz ({tails}, {couplings.n_pairs} pairs)"
            )
    return made


def describe_reference(reference: Reference) -> list[str]:
    """Lines that say what was fitted."""
    from ..analysis.reference_fit import predictive_interval, residuals_ppm, rmse_ppm

    slope_error = reference.covariance[0][0] ** 0.5
    low, high = predictive_interval(reference, reference.sigma_mean_ppm, 0.95)
    tails = "normal" if reference.site_dof is None else f"tails of {reference.site_dof:.1f} degrees of freedom"
    lines = [
        f"{reference.isotope}, {reference.method.key}",
        f"  shift = {reference.intercept_ppm:.2f} + ({reference.slope:.4f} +/- {slope_error:.4f}) x shielding, "
        f"{len(reference.compounds)} compounds",
        f"  a new site: {reference.site_error_ppm:.2f} ppm ({tails}), 95 % within +/- {0.5 * (high - low):.1f} ppm at "
        f"{reference.sigma_mean_ppm:.1f} ppm; rms residual {rmse_ppm(reference):.2f} ppm",
    ]
    worst = sorted(residuals_ppm(reference).items(), key=lambda pair: -abs(pair[1]))[:3]
    return [*lines, "  farthest off: " + ", ".join(f"{name} {value:+.1f} ppm" for name, value in worst)]
