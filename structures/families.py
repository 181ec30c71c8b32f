"""Solid solutions: crystals whose composition is a number that the user chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from .errors import SurfshiftError

if TYPE_CHECKING:
    from .vocabulary import Crystal

MAX_LATP_X = 0.5
MAX_GARNET_DOPING = 0.6

LI_24D = 0.542
"""Li on 24d of cubic LLZO by neutron diffraction; the rest of the Li is on 96h."""


class CompositionError(SurfshiftError):
    """A composition outside the range of a solid solution."""


def latp(x: float) -> Crystal:
    """Li(1+x)Al(x)Ti(2-x)(PO4)3 for x from 0 to 0.5.

    The cell is interpolated between those of LiTi2(PO4)3 and of x = 0.3 (Vegard's rule, extrapolated to 0.5); Al shares
    the Ti site, and the additional Li is on 36f. The density is that of the cell.

    Raises
    ------
    CompositionError
        If x is out of range; the message names the nearest allowed one.
    """
    from .library import load_crystal

    if not 0.0 <= x <= MAX_LATP_X:
        raise CompositionError(
            f"LATP with x = {x:g} is outside the single phase; give x from 0 to {MAX_LATP_X}, "
            f"the nearest is {min(max(x, 0.0), MAX_LATP_X):g}"
        )
    parent, doped = load_crystal("LiTi2P3O12"), load_crystal("LATP_x0.3")
    if x == 0.0:
        return parent
    share = x / 0.3
    a, b, c = (parent.cell[k] + share * (doped.cell[k] - parent.cell[k]) for k in range(3))
    occupancy = {"Al": x / 2.0, "Ti": 1.0 - x / 2.0}
    sites = tuple(
        site.model_copy(update={"occupancy": occupancy.get(site.element, x / 6.0)}) if site.occupancy != 1.0 else site
        for site in doped.sites
    )
    return doped.model_copy(
        update={
            "name": f"LATP_x{x:g}",
            "formula": f"Li{1 + x:.6g}Al{x:.6g}Ti{2 - x:.6g}P3O12",
            "cell": (a, b, c, *parent.cell[3:]),
            "sites": sites,
            "density_g_cm3": parent.density_g_cm3 + share * (doped.density_g_cm3 - parent.density_g_cm3),
            "grade": "model",
            "note": "Cell interpolated between x = 0 and x = 0.3.",
        }
    )


def doped_llzo(
    *, aluminium: float = 0.0, tantalum: float = 0.0, aluminium_site: Literal["24d", "96h"] = "24d"
) -> Crystal:
    """Cubic Li(7-3a-t)Al(a)La3Zr(2-t)Ta(t)O12.

    Parameters
    ----------
    aluminium, tantalum
        Al and Ta per formula unit, each from 0 to 0.6.
    aluminium_site
        Site of Li that Al takes.

    Raises
    ------
    CompositionError
        If a content is out of range; the message names the nearest allowed one.
    """
    from .library import load_crystal

    for word, amount in (("aluminium", aluminium), ("tantalum", tantalum)):
        if not 0.0 <= amount <= MAX_GARNET_DOPING:
            raise CompositionError(
                f"{word} = {amount:g} per formula unit is outside the garnet's range; give 0 to {MAX_GARNET_DOPING}, "
                f"the nearest is {min(max(amount, 0.0), MAX_GARNET_DOPING):g}"
            )
    parent = load_crystal("LLZO_Al0.2_24d")
    undoped, ta_doped = load_crystal("LLZO_cubic"), load_crystal("LLZTO")
    lithium = 7.0 - 3.0 * aluminium - tantalum
    al_24d = aluminium * 8.0 / 24.0 if aluminium_site == "24d" else 0.0
    al_96h = aluminium * 8.0 / 96.0 if aluminium_site == "96h" else 0.0
    li_24d = min(LI_24D, 1.0 - al_24d)
    amounts = {
        ("Al", "24d"): al_24d,
        ("Al", "96h"): al_96h,
        ("Li", "24d"): li_24d,
        ("Li", "96h"): (lithium * 8.0 - li_24d * 24.0) / 96.0,
        ("Zr", ""): 1.0 - tantalum / 2.0,
        ("Ta", ""): tantalum / 2.0,
    }
    zr = next(site for site in parent.sites if site.element == "Zr")
    site_24d = next(site for site in undoped.sites if site.element == "Li" and site.occupancy > 0.5)
    site_96h = next(site for site in undoped.sites if site.element == "Li" and site.occupancy <= 0.5)
    places = {"24d": site_24d.xyz, "96h": site_96h.xyz, "": zr.xyz}
    states = {"Al": 3.0, "Li": 1.0, "Zr": 4.0, "Ta": 5.0}
    sites = tuple(
        zr.model_copy(
            update={
                "label": f"{element}{place}",
                "element": element,
                "xyz": places[place],
                "oxidation_state": states[element],
                "occupancy": amount,
            }
        )
        for (element, place), amount in amounts.items()
        if amount > 0.0
    )
    frame = tuple(site for site in parent.sites if site.element in ("La", "O"))
    share_al, share_ta = aluminium / 0.2, tantalum / 0.6
    edge = (
        undoped.cell[0]
        + share_al * (parent.cell[0] - undoped.cell[0])
        + share_ta * (ta_doped.cell[0] - undoped.cell[0])
    )
    mass = (
        lithium * 6.94 + aluminium * 26.982 + 3 * 138.905 + (2 - tantalum) * 91.224 + tantalum * 180.948 + 12 * 15.999
    )
    return parent.model_copy(
        update={
            "name": f"LLZO_Al{aluminium:g}_{aluminium_site}_Ta{tantalum:g}",
            "formula": f"Li{lithium:.6g}Al{aluminium:.6g}La3Zr{2 - tantalum:.6g}Ta{tantalum:.6g}O12".replace(
                "Al0La", "La"
            ).replace("Ta0O", "O"),
            "cell": (edge, edge, edge, 90.0, 90.0, 90.0),
            "sites": sites + frame,
            "density_g_cm3": 8 * mass / (edge**3 * 0.602214076),
            "note": "Cell interpolated between undoped, Al-doped and Ta-doped LLZO; Li on 24d 0.542, the rest on 96h.",
        }
    )
