"""The gallery: self-contained, escaped, every number of a candidate on its card."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from surfshift.analysis.candidate_summary import summarize
from surfshift.analysis.report.gallery import Card, candidate_png, render_gallery
from surfshift.analysis.surface_energy import SurfaceEnergy
from surfshift.structures.enumeration import bulk_candidate
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.slabs import cut_slabs
from surfshift.structures.undercoordination import undercoordinated_atoms

EVIL = '<img src=x onerror="alert(1)">&\'</script><b>'


class Page(HTMLParser):
    """Tags with their attributes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def cards() -> tuple[Card, ...]:
    bulk = build_crystal(load_crystal("LiF"))
    (slab,) = cut_slabs(bulk, (1, 0, 0), thickness_ang=4.0, parent="LiF")
    evil = slab.model_copy(update={"name": EVIL, "parent": EVIL, "notes": (EVIL,), "decoration": EVIL})
    made = []
    for candidate in (bulk_candidate("LiF"), slab, evil):
        summary = summarize(
            candidate,
            origin=EVIL if candidate is evil else "cut",
            slab=None,
            undercoordinated=undercoordinated_atoms(candidate, [bulk]),
            sites={"7Li": 2},
            n_refused_sites=0,
            nmr_cpu_seconds=30.0,
            relax_cpu_seconds=3.0,
        )
        if candidate is slab:
            energy = SurfaceEnergy(low_j_m2=0.31, high_j_m2=0.45, balance=("4 LiF",), note="a range")
            summary = summary.model_copy(update={"surface_energy": energy})
        if candidate is evil:
            summary = summary.model_copy(update={"problem": EVIL})
        made.append(Card(candidate, summary))
    return tuple(made)


def test_every_user_string_is_escaped_and_nothing_is_loaded(cards: tuple[Card, ...]) -> None:
    text = render_gallery(cards, title=EVIL, facts=[("crystal", EVIL)], remarks=[EVIL])
    assert EVIL not in text
    page = Page(text)
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == len(cards)
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in images)
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert not any(tag in ("b", "link", "iframe") for tag, _ in page.tags)
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_cards_carry_the_numbers_they_are_sorted_by(cards: tuple[Card, ...]) -> None:
    shown = [a for tag, a in Page(render_gallery(cards, title="x")).tags if tag == "article"]
    assert [a["data-atoms"] for a in shown] == [repr(float(len(card.candidate.structure))) for card in cards]
    assert [a["data-surface"] for a in shown] == ["", "0.31", ""]
    assert [a["data-facet"] for a in shown] == ["", "(100)", "(100)"]
    # the cut leaves five bonds of six to every outermost ion
    summary = cards[1].summary
    assert summary.n_broken_bonds == len(summary.undercoordinated) > 0
    assert float(str(shown[1]["data-broken"])) == pytest.approx(summary.n_broken_bonds / (2 * (summary.area_ang2 or 0)))


def test_undercoordinated_ions_of_rock_salt_are_the_outermost(cards: tuple[Card, ...]) -> None:
    slab = cards[1].candidate
    heights = slab.structure.cart_coords[:, 2]
    outer = np.isclose(heights, heights.min()) | np.isclose(heights, heights.max())
    assert set(cards[1].summary.undercoordinated) == set(np.flatnonzero(outer))
    assert cards[0].summary.undercoordinated == ()


def test_rings_are_drawn_only_where_asked_for(cards: tuple[Card, ...]) -> None:
    slab = cards[1].candidate
    assert candidate_png(slab, [0], dpi=60) != candidate_png(slab, [], dpi=60)
