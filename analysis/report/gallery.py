"""A gallery of candidates: one HTML file with pictures that loads nothing from outside."""

from __future__ import annotations

import io
from base64 import b64encode
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from .page import SUBSCRIPTS, content_policy, duration, fixed, page_picture
from .pictures import candidate_figure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...structures.vocabulary import Candidate
    from ..candidate_summary import CandidateSummary

PICTURE_WIDTH = 680
"""Points; twice the width of a card, for screens of high density."""

PICTURE_BUDGET_BYTES = 12_000_000
"""Pictures of all cards together stay near this size."""

SORT_KEYS = (
    ("order", "order of the study"),
    ("surface", "surface energy"),
    ("adhesion", "work of separation"),
    ("atoms", "atoms"),
    ("area", "area"),
    ("dipole", "dipole, absolute"),
    ("broken", "broken bonds per area"),
    ("open", "undercoordinated atoms"),
    ("sites", "sites for NMR"),
    ("cost", "expected NMR cost"),
)


@dataclass(frozen=True)
class Card:
    """A candidate as it is shown, with what is said of it.

    ``open_after`` are the undercoordinated atoms of a relaxed candidate; without it those of the summary get rings.
    """

    candidate: Candidate
    summary: CandidateSummary
    open_after: tuple[int, ...] | None = None

    @property
    def marked(self) -> tuple[int, ...]:
        """Atoms with a ring."""
        return self.summary.undercoordinated if self.open_after is None else self.open_after


def candidate_png(candidate: Candidate, open_atoms: Sequence[int], *, dpi: int = 220) -> bytes:
    """Side and top view as a PNG, undercoordinated atoms with a ring."""
    buffer = io.BytesIO()
    candidate_figure(candidate, marked=frozenset(open_atoms)).savefig(
        buffer, format="png", dpi=dpi, metadata={"Software": None}
    )
    return buffer.getvalue()


def render_gallery(
    cards: Sequence[Card],
    *,
    title: str,
    facts: Sequence[tuple[str, str]] = (),
    remarks: Sequence[str] = (),
    step: Callable[[str], None] | None = None,
) -> str:
    """The page as text.

    Parameters
    ----------
    cards
        What to show, in order.
    title
        Name of the study.
    facts
        Pairs of words at the head of the page.
    remarks
        What was left out and why.
    step
        Called with the name of every candidate whose picture is drawn.

    Raises
    ------
    jinja2.TemplateError
        If the template and the vocabulary do not fit together, which is a defect of the project.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    script = _resource("gallery.js.jinja")
    # a picture 680 points wide takes about 45 kB
    width = max(320, int(PICTURE_WIDTH * min(1.0, PICTURE_BUDGET_BYTES / max(1, len(cards)) / 45_000)))
    shown = []
    for number, card in enumerate(cards):
        shown.append(_card(number, card, width))
        if step is not None:
            step(card.summary.name)
    return environment.from_string(_resource("gallery.html.jinja")).render(
        title=title,
        facts=facts,
        remarks=remarks,
        cards=shown,
        origins=list(dict.fromkeys(card.summary.origin for card in cards)),
        facets=list(dict.fromkeys(card.summary.facet for card in cards if card.summary.facet)),
        sort_keys=[(key, words) for key, words in SORT_KEYS if any(card["numbers"].get(key) != "" for card in shown)],
        policy=content_policy([script]),
        style=_resource("style.css.jinja"),
        own_style=_resource("gallery.css.jinja"),
        script=script,
    )


def _card(number: int, card: Card, width: int) -> dict[str, Any]:
    summary, candidate = card.summary, card.candidate
    picture = page_picture(candidate_png(candidate, card.marked), width)
    energy = summary.surface_energy
    per_area = None
    if summary.n_broken_bonds is not None and summary.area_ang2:
        per_area = summary.n_broken_bonds / (2 * summary.area_ang2)
    numbers = {
        "order": number,
        "surface": energy.low_j_m2,
        "adhesion": summary.adhesion_j_m2,
        "atoms": summary.n_atoms,
        "area": summary.area_ang2,
        "dipole": None if summary.dipole_e_ang is None else abs(summary.dipole_e_ang),
        "broken": per_area,
        "open": len(card.marked) if candidate.kind == "slab" else None,
        "sites": sum(summary.sites.values()),
        "cost": summary.nmr_cpu_seconds,
    }
    return {
        "name": summary.name,
        "id": summary.id,
        "origin": summary.origin,
        "facet": summary.facet,
        "headline": headline(summary),
        "numbers": {key: "" if value is None else repr(float(value)) for key, value in numbers.items()},
        "properties": _properties(card),
        "notes": [*summary.notes, *([energy.note] if energy.note else [])],
        "problem": summary.problem,
        "alt": f"Side and top view of {summary.name}; rings mark {len(card.marked)} atoms with open bonds",
        "picture": "data:image/png;base64," + b64encode(picture).decode(),
    }


def surface_words(summary: CandidateSummary) -> str:
    """Surface energy in J/m2, a range, or an empty text."""
    energy = summary.surface_energy
    if energy.low_j_m2 is None or energy.high_j_m2 is None:
        return ""
    if energy.high_j_m2 - energy.low_j_m2 < 5e-3:
        return fixed(energy.low_j_m2, 2)
    return f"{fixed(energy.low_j_m2, 2)} to {fixed(energy.high_j_m2, 2)}"


def headline(summary: CandidateSummary) -> str:
    """The number that matters most, in words; empty without a ranking."""
    if words := surface_words(summary):
        return f"{words} J/m²"
    if summary.adhesion_j_m2 is not None:
        return f"{fixed(summary.adhesion_j_m2, 2)} J/m²"
    return ""


def _properties(card: Card) -> list[tuple[str, str]]:
    summary, candidate = card.summary, card.candidate
    rows = [("Formula", f"{summary.formula.translate(SUBSCRIPTS)}, {summary.n_atoms} atoms")]
    if candidate.kind == "slab":
        record = candidate.interface_record
        rows.append(("Facet", f"{summary.facet} of {summary.parent}"))
        rows.append(("Termination", summary.termination or "–"))
        if summary.decoration:
            rows.append(("Decoration", summary.decoration))
        if summary.tasker is not None:
            faces = {True: "equal faces", False: "different faces", None: ""}[summary.has_equal_faces]
            rows.append(("Tasker class", f"{summary.tasker}, {faces}"))
        if summary.dipole_e_ang is not None:
            rows.append(("Dipole", f"{fixed(summary.dipole_e_ang, 2)} e Å"))
        if summary.area_ang2 is not None:
            rows.append(("Area", f"{summary.area_ang2:.1f} Å²"))
        if summary.n_broken_bonds is not None:
            broken = ", ".join(f"{n} {pair}" for pair, n in summary.broken_bonds) or "none"
            rows.append(("Bonds cut", broken))
        after = "" if card.open_after is None else f" as built, on {len(card.open_after)} relaxed"
        rows.append(("Open bonds", f"on {len(summary.undercoordinated)} atoms{after}"))
        if record is not None:
            low, high = (100 * value for value in record.strain)
            rows.append(("Strain", f"{record.strained} {fixed(low, 1, sign=True)} and {fixed(high, 1, sign=True)} %"))
            rows.append(("Gap", f"{fixed(record.gap_ang, 2)} Å"))
    rows.append(("Regions", ", ".join(f"{n} {region}" for region, n in summary.regions.items())))
    sites = ", ".join(f"{n} {isotope}" for isotope, n in summary.sites.items() if n) or "none"
    refused = f", {summary.n_refused_sites} refused as built" if summary.n_refused_sites else ""
    rows.append(("Sites", f"{sites}; about {duration(summary.nmr_cpu_seconds)} of CPU{refused}"))
    if summary.energy_ev is not None:
        how = f"relaxed in {summary.n_steps} steps" if summary.is_relaxed else "as built"
        rows.append(("Energy", f"{fixed(summary.energy_ev, 3)} eV per cell, {how}"))
    for k, words in enumerate(summary.surface_energy.balance):
        rows.append(("Weighed against" if k == 0 else "", words))
    if summary.adhesion_j_m2 is not None:
        rows.append(("Separation", f"{fixed(summary.adhesion_j_m2, 2)} J/m², both sides kept rigid"))
    return rows


def _resource(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")
