"""The report's page: one HTML text that loads nothing from outside."""

from __future__ import annotations

import hashlib
import io
from base64 import b64encode
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from . import answer_figures, figures, interactive
from .paragraph import paragraph
from .view import number_ranges, split_isotope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from matplotlib.figure import Figure

    from ...structures.vocabulary import Candidate
    from ..vocabulary import Method, Relaxation, SiteTensors
    from .view import Look, View

SHOWN_SUBSETS = 12
PICTURE_BUDGET_BYTES = 280_000
"""Pictures of all candidates in the page together stay near this size; the files beside it are larger."""

SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")

SITE_COLUMNS = (
    ("Candidate", False),
    ("Isotope", False),
    ("Atoms", False),
    ("Region", False),
    ("Mult.", True),
    ("σ / ppm", True),
    ("δ / ppm", True),
    ("CQ / MHz", True),
    ("η(Q)", True),
    ("CSA ζ / ppm", True),
    ("CSA η", True),
    ("to H / Å", True),
)


@dataclass(frozen=True)
class Chart:
    """An interactive figure of the page. ``slug`` names its PNG file as well."""

    slug: str
    isotope: str
    title: str
    caption: str
    alt: str
    spec: interactive.Figure


def charts(view: View) -> Iterator[Chart]:
    """Interactive figures in the order of the page: spectra, lines, couplings."""
    from .view import slug

    for number, (spectrum, curve) in enumerate(view.spectra, start=1):
        fitted = " Filled: the part of every candidate; dashed: their sum; below: residual, grey within 90 % of noise."
        caption = f"Measured spectrum at {spectrum.field_tesla:g} T, {spectrum.experiment.value}."
        yield Chart(
            f"spectrum-{number}-{slug(spectrum.name)}",
            spectrum.isotope,
            f"{spectrum.name}",
            caption + (fitted if curve else " It was not fitted."),
            f"Spectrum {spectrum.name} of {spectrum.isotope}" + (" with fit, parts and residual" if curve else ""),
            interactive.spectrum_figure(spectrum, curve, view),
        )
    for lines in view.line_charts:
        measured = " Grey bands: measured lines, one standard deviation to each side." if lines.measured else ""
        yield Chart(
            lines.slug,
            lines.isotope,
            f"lines on the axis of the {lines.axis_name}",
            f"Markers: predicted sites. Curves: their atoms, smeared by the error of a single site.{measured}",
            f"Predicted {lines.isotope} lines of {len(lines.lanes)} candidates and "
            f"{len(lines.measured)} measured lines; the table of sites has the numbers",
            interactive.lines_figure(lines),
        )
    for coupling in view.coupling_charts:
        yield Chart(
            coupling.slug,
            coupling.isotope,
            "shift against quadrupolar coupling",
            "Bars: one standard deviation. Crosses: measured lines; a grey band is a line of which only the shift "
            "or only the coupling was measured.",
            f"Isotropic shift against quadrupolar coupling of {coupling.isotope}, measured and predicted; "
            "the table of sites has the numbers",
            interactive.coupling_figure(coupling),
        )


def render_page(
    view: View, *, shown: list[Chart], images: Mapping[str, bytes], names: Mapping[str, str], result_json: bytes
) -> str:
    """The page as text.

    Parameters
    ----------
    view
        What to show.
    shown
        Interactive figures, see ``charts``.
    images
        PNG bytes of the static figures, by slug; candidates by ``candidate:`` and their name.
    names
        Name of the file of each of them beside the page.
    result_json
        Bytes of result.json, for their hash.

    Raises
    ------
    jinja2.TemplateError
        If the template and the vocabulary do not fit together, which is a defect of the project.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    environment.filters |= {
        "fixed": fixed,
        "signed": partial(fixed, sign=True),
        "percent": percent,
        "fit_words": fit_words,
        "duration": duration,
        "ranges": number_ranges,
        "isotope": lambda name: Markup("<sup>{}</sup>{}").format(*split_isotope(name)),
        "dot": dot,
    }
    environment.globals["cell"] = cell
    scripts = [_resource("script.js.jinja")]
    if shown:
        from plotly.offline import get_plotlyjs

        scripts.insert(0, get_plotlyjs().replace("</script", "<\\/script"))
    result, assignment = view.result, view.result.assignment
    candidates = [
        _candidate(view, number, candidate, relaxation, images=images, names=names)
        for number, (candidate, relaxation) in enumerate(view.candidates, 1)
    ]
    sections = [
        ("verdict", "Verdict"),
        ("populations", "Populations"),
        ("lines", "Lines"),
        ("candidates", "Candidates"),
    ]
    if result.sensitivities or result.experiments or result.calculations:
        sections.insert(2, ("next", "What next"))
    sections += [
        ("sites", "Sites"),
        ("attribution", "Attribution"),
        ("references", "References"),
        ("provenance", "Provenance"),
    ]
    return environment.from_string(_resource("report.html.jinja")).render(
        view=view,
        result=result,
        assignment=assignment,
        sections=[s for s in sections if assignment or s[0] != "populations"],
        policy=content_policy(scripts),
        style=_resource("style.css.jinja"),
        scripts=scripts,
        paper=paragraph(result),
        answers={key: _still(draw) for key, draw in answer_figures.answer_plots(view).items()},
        wide=[r for r in result.references if r.is_wide],
        populations_figure=_still(partial(figures.populations_figure, view)) if view.populations else None,
        subsets=sorted(assignment.subsets, key=lambda s: -s.probability)[:SHOWN_SUBSETS] if assignment else (),
        charts=[
            {"id": f"plot-{i}", "title": c.title, "isotope": c.isotope, "caption": c.caption, "alt": c.alt}
            | {"height": c.spec["layout"]["height"], "png": names.get(c.slug)}
            for i, c in enumerate(shown)
        ],
        plots={f"plot-{i}": c.spec for i, c in enumerate(shown)},
        candidates=candidates,
        files=names,
        site_isotopes=list(dict.fromkeys(s.isotope for s in result.sites)),
        site_regions=list(dict.fromkeys("given" if s.is_given else s.region.value for s in result.sites)),
        site_candidates=list(dict.fromkeys(s.candidate_name for s in result.sites)),
        site_columns=SITE_COLUMNS,
        reference_figures=[_still(partial(figures.reference_figure, line)) for line in view.reference_lines],
        reference_files=[names.get(line.slug) for line in view.reference_lines],
        methods=_methods(view),
        relax_models=list(dict.fromkeys(r.model for r in result.relaxations)),
        costs=_costs(view),
        moving=[(name, t, t.motion) for name, t in _costs(view) if t.motion is not None],
        result_hash=hashlib.sha256(result_json).hexdigest(),
    )


def content_policy(scripts: list[str]) -> str:
    """Content security policy that lets only these inline scripts run and loads nothing from outside."""
    hashes = " ".join(f"'sha256-{b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def fixed(value: float, digits: int, *, sign: bool = False) -> str:
    """A number with a fixed count of decimals and a true minus sign."""
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", "−")


def percent(share: float) -> str:
    """A probability or share in percent; never 0 or 100 unless it is exactly that."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.0f} %" if 0.1 <= share <= 0.99 or share in (0, 1) else f"{100 * share:.1f} %"


def fit_words(probability: float) -> str:
    """What a fit probability means."""
    if probability >= 0.05:
        return "the data are reproduced as well as the stated errors allow"
    if probability >= 0.01:
        return "the fit is worse than the stated errors allow; take the verdict with care"
    return "the fit is poor: the errors are too small or the right structure is missing"


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def cell(value: float | None, digits: int = 0, error: float | None = None) -> str:
    """Table cell of a number, with its error and with the full value for sorting; a dash for None."""
    from markupsafe import Markup

    if value is None:
        return Markup('<td class="n" data-value="">–</td>')
    text = fixed(value, digits) + (f" ± {fixed(error, digits)}" if error is not None else "")
    return Markup('<td class="n" data-value="{}">{}</td>').format(repr(value), text)


def dot(look: Look) -> str:
    """Marker of a candidate as the inside of an SVG of 10 by 10 units."""
    from markupsafe import Markup

    shapes = {
        "o": '<circle cx="5" cy="5" r="5" fill="{}"/>',
        "s": '<path d="M0.5 0.5h9v9h-9z" fill="{}"/>',
        "^": '<path d="M5 0L10 9.5H0z" fill="{}"/>',
        "D": '<path d="M5 -0.6L10.6 5L5 10.6L-0.6 5z" fill="{}"/>',
        "v": '<path d="M5 10L0 0.5H10z" fill="{}"/>',
        "x": '<path d="M0 4h10v2H0z" fill="{}"/>',
    }
    return Markup(shapes[look.marker]).format(look.colour)


def page_picture(png: bytes, max_width: int) -> bytes:
    """A picture made small enough for the page: at most so many points wide, and a palette of 96 colours."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as full:
        image = full.convert("RGB")
    width = min(max_width, image.width)
    small = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.quantize(96).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _candidate(
    view: View,
    number: int,
    candidate: Candidate,
    relaxation: Relaxation | None,
    *,
    images: Mapping[str, bytes],
    names: Mapping[str, str],
) -> dict[str, Any]:
    properties = [
        ("Formula", f"{candidate.structure.formula.translate(SUBSCRIPTS)}, {len(candidate.structure)} atoms"),
        ("Made from", candidate.parent),
    ]
    if candidate.kind == "slab":
        facet = "(" + " ".join(str(i).replace("-", "−") for i in candidate.miller or ()) + ")"
        properties += [
            ("Facet", facet),
            ("Termination", candidate.termination or "–"),
            ("Decoration", candidate.decoration or "none"),
            ("Area", f"{candidate.area_ang2:.1f} Å²"),
            ("Dipole as built", f"{fixed(candidate.dipole_e_ang, 3)} e Å"),
            ("Undercoordinated", f"{candidate.n_undercoordinated} atoms per cell"),
        ]
    if relaxation is not None:
        properties += _relaxed(view, relaxation)
    key = f"candidate:{candidate.name}"
    # a picture 720 points wide takes about 45 kB; the size grows about linearly with the width
    share = PICTURE_BUDGET_BYTES / len(view.candidates) / 45_000
    picture = page_picture(images[key], max(260, int(720 * min(1.0, share))))
    marks = view.marks(candidate)
    return {
        "anchor": f"candidate-{number}",
        "name": candidate.name,
        "id": candidate.id,
        "formula": candidate.structure.formula,
        "properties": properties,
        "notes": candidate.notes,
        "marked": list(dict.fromkeys(marks.values())),
        "picture": _data_uri(picture, "image/png"),
        "png": names[key],
    }


def _relaxed(view: View, relaxation: Relaxation) -> list[tuple[str, str]]:
    candidate = relaxation.candidate
    properties = [("Energy", f"{fixed(relaxation.energy_ev, 3)} eV per cell")]
    relative = view.relative_energies_ev.get(candidate.name)
    if relative is not None:
        properties.append(("Above the best", f"{relative:.3f} eV (slabs of the same composition and facet)"))
    elif candidate.kind == "slab":
        properties.append(("Above the best", "not comparable: no other converged slab of this composition and facet"))
    state = "converged" if relaxation.is_converged else "NOT converged"
    steps = f"{state} after {relaxation.n_steps} steps, largest force {relaxation.max_force_ev_per_ang:.3f} eV/Å"
    properties.append(("Relaxation", f"{steps} ({relaxation.model})"))
    return properties


def _still(draw: Callable[[figures.Theme], Figure]) -> dict[str, str]:
    themes = {"light": figures.LIGHT, "dark": figures.DARK}
    return {name: _data_uri(figures.svg(partial(draw, theme)), "image/svg+xml") for name, theme in themes.items()}


def _methods(view: View) -> list[Method]:
    used = [t.method for sites in view.result.tensors.values() for t in sites]
    return list({method.model_dump_json(): method for method in used}.values())


def _costs(view: View) -> list[tuple[str, SiteTensors]]:
    return [(view.name_of(key), tensors) for key, sites in view.result.tensors.items() for tensors in sites]


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"


def _resource(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")
