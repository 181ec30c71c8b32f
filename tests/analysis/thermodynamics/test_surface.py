"""Surface free energies of real EMT surfaces and of a surface that takes up water."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.optimize import BFGS
from pydantic import ValidationError
from surfshift.analysis.thermodynamics.gases import SupersaturatedError, gas_potential_ev
from surfshift.analysis.thermodynamics.surface import (
    J_PER_M2,
    OutsideStableRegionError,
    Phase,
    Reservoir,
    ReservoirError,
    SlabEnergy,
    State,
    SurfaceSystem,
    ThermodynamicsError,
    check_stable,
    error_covariance,
    stable_range_ev,
    surface_free_energies,
    units_taken,
)
from surfshift.analysis.thermodynamics.vibrations import vibrational_free_energy_ev

if TYPE_CHECKING:
    from collections.abc import Callable

ROOM = State(pressures_bar={"H2O": 0.01})


def aluminium_111(a: float, layers: int) -> SurfaceSystem:
    slab = fcc111("Al", (1, 1, layers), a=a, vacuum=8.0, periodic=True)
    slab.calc = EMT()
    BFGS(slab, logfile=None).run(fmax=0.005)
    crystal = bulk("Al", a=a)
    crystal.calc = EMT()
    return SurfaceSystem(
        slabs=(
            SlabEnergy(
                name=f"Al(111), {layers} layers",
                composition={"Al": layers},
                energy_ev=float(slab.get_potential_energy()),
                area_ang2=a * a * 3**0.5 / 4,
            ),
        ),
        reservoirs=(
            Reservoir(name="Al", kind="bulk", composition={"Al": 1}, energy_ev=float(crystal.get_potential_energy())),
        ),
    )


def test_aluminium_111_does_not_depend_on_the_thickness_and_is_of_the_published_size() -> None:
    # 3.994 A is the lattice constant of aluminium in this EMT
    thin, thick = (surface_free_energies(aluminium_111(3.994, n), State()).gamma_ev_per_ang2[0] for n in (5, 9))
    assert thin == pytest.approx(thick, abs=2e-4)
    # the documentation of GPAW (exercise on an aluminium surface) gives 54 meV/A^2, from a liquid drop; EMT is below it
    # by 18 %. DFT and measurements extrapolated to the solid: 1.14 to 1.20 J/m2 (Vitos et al., Surf. Sci. 411, 186
    # (1998)), to which EMT is too low for all of its metals
    assert thick == pytest.approx(0.054, rel=0.2)
    assert J_PER_M2 * thick < 1.14


def test_sums_of_slabs_agree_with_the_slope_of_energies_against_thickness() -> None:
    # 2 A gamma is what the energies of slabs leave at zero thickness: no bulk energy enters (Fiorentini and Methfessel,
    # J. Phys.: Condens. Matter 8, 6525 (1996))
    systems = {n: aluminium_111(3.994, n) for n in (7, 9, 11)}
    energies = [system.slabs[0].energy_ev for system in systems.values()]
    slope, intercept = np.polyfit(list(systems), energies, 1)
    gamma = surface_free_energies(systems[9], State()).gamma_ev_per_ang2[0]
    assert intercept / (2 * systems[9].slabs[0].area_ang2) == pytest.approx(gamma, abs=2e-4)
    assert slope == pytest.approx(systems[9].reservoirs[0].energy_ev, abs=1e-3)


def test_gamma_of_a_stoichiometric_slab_is_excess_energy_per_area(water_system: Callable[..., SurfaceSystem]) -> None:
    gamma = surface_free_energies(water_system(), ROOM).gamma_ev_per_ang2
    assert gamma[0] == pytest.approx(0.06)


def test_water_uptake_is_paid_at_its_chemical_potential(water_system: Callable[..., SurfaceSystem]) -> None:
    dry, wet = surface_free_energies(water_system(-1.2), ROOM).gamma_ev_per_ang2
    potential = gas_potential_ev("H2O", -14.2, 298.15, 0.01) + 14.2
    assert wet - dry == pytest.approx(4 * (-1.2 - potential) / (2 * 55.0))


def test_one_sided_slabs_and_vibrations_count(water_system: Callable[..., SurfaceSystem]) -> None:
    system = water_system()
    dry = system.slabs[0]
    one = dry.model_copy(update={"faces": 1})
    vibrating = dry.model_copy(update={"name": "vibrating", "modes_thz": (10.0, 20.0)})
    changed = system.model_copy(update={"slabs": (one, vibrating)})
    gamma = surface_free_energies(changed, ROOM).gamma_ev_per_ang2
    assert gamma[0] == pytest.approx(0.12)
    assert gamma[1] - 0.06 == pytest.approx(vibrational_free_energy_ev([10.0, 20.0], 298.15) / 110.0)


def test_gold_rich_surface_gains_with_gold(cu3au_system: SurfaceSystem) -> None:
    low, high = stable_range_ev(cu3au_system, State(), "Au")
    assert high == pytest.approx(0.0, abs=1e-9)  # gold itself
    # the other end is copper: mu(Cu) = E(Cu), so mu(Au) = the formation energy of Cu3Au, negative in EMT too
    assert low < -0.03

    def gamma(mu: float) -> tuple[float, ...]:
        return surface_free_energies(cu3au_system, State(potentials_ev={"Au": mu})).gamma_ev_per_ang2

    poor, rich = gamma(low + 1e-6), gamma(high - 1e-6)
    area = cu3au_system.slabs[0].area_ang2
    excess = [slab.composition["Au"] - slab.composition["Cu"] / 3 for slab in cu3au_system.slabs]
    for k in range(2):
        assert rich[k] - poor[k] == pytest.approx(-excess[k] * (high - low) / (2 * area), rel=1e-3)
    assert excess[0] > 0 > excess[1]
    assert all(0.02 < value < 0.2 for value in (*poor, *rich))
    # both slabs together are stoichiometric, whatever the potential
    assert sum(poor) == pytest.approx(sum(rich), abs=1e-6)


def test_potentials_outside_the_stable_region_are_refused_with_the_range(cu3au_system: SurfaceSystem) -> None:
    low, _ = stable_range_ev(cu3au_system, State(), "Au")
    with pytest.raises(OutsideStableRegionError, match=rf"fcc gold forms.*between {low:.3f} and 0.000 eV"):
        surface_free_energies(cu3au_system, State(potentials_ev={"Au": 0.1}))
    with pytest.raises(OutsideStableRegionError, match="fcc copper forms"):
        check_stable(cu3au_system, State(potentials_ev={"Au": low - 0.1}))
    unchecked = surface_free_energies(cu3au_system, State(potentials_ev={"Au": 0.1}), check_stability=False)
    assert np.isfinite(unchecked.gamma_ev_per_ang2).all()
    always = Phase(name="better Cu3Au", composition={"Cu": 3, "Au": 1}, energy_ev=-100.0)
    broken = cu3au_system.model_copy(update={"competing": (always,)})
    with pytest.raises(OutsideStableRegionError, match="better Cu3Au forms"):
        check_stable(broken, State())
    crossed = Phase(name="cheap copper", composition={"Cu": 1}, energy_ev=-1.0)
    with pytest.raises(OutsideStableRegionError, match="no potential of Au makes the bulk stable"):
        stable_range_ev(
            cu3au_system.model_copy(update={"competing": (cu3au_system.competing[0], crossed)}), State(), "Au"
        )


def test_lithium_follows_the_voltage() -> None:
    # Li2O slab short of two Li, with lithium metal as a reservoir
    system = SurfaceSystem(
        slabs=(SlabEnergy(name="poor", composition={"Li": 14, "O": 8}, energy_ev=-110.0, area_ang2=20.0),),
        reservoirs=(
            Reservoir(name="Li2O", kind="bulk", composition={"Li": 2, "O": 1}, energy_ev=-14.3),
            Reservoir(name="Li", kind="metal", composition={"Li": 1}, energy_ev=-1.9),
        ),
    )
    np.testing.assert_allclose(units_taken({"Li": 14, "O": 8}, system.reservoirs), [8, -2], atol=1e-9)
    low, high = (surface_free_energies(system, State(voltage_v=v)).gamma_ev_per_ang2[0] for v in (0.0, 3.0))
    assert high - low == pytest.approx(-2 * 3.0 / 40.0)  # losing lithium gets easier by 3 eV each
    with pytest.raises(ThermodynamicsError, match="no voltage against Li is given"):
        surface_free_energies(system, State())


def test_errors_are_correlated_where_the_same_water_enters(water_system: Callable[..., SurfaceSystem]) -> None:
    system = water_system(water_error_ev=0.2, own_error=0.001)
    twice = system.slabs[1].model_copy(update={"name": "wetter", "composition": {"Al": 8, "P": 8, "O": 40, "H": 16}})
    covariance = error_covariance(system.model_copy(update={"slabs": (*system.slabs, twice)}))
    own = 0.001**2
    np.testing.assert_allclose(covariance[0], [own, 0, 0], atol=1e-15)
    np.testing.assert_allclose(covariance[1, 1], (4 * 0.2 / 110) ** 2 + own)
    np.testing.assert_allclose(covariance[1, 2], 2 * (4 * 0.2 / 110) ** 2)
    assert np.linalg.eigvalsh(covariance).min() > 0


def test_error_of_the_bulk_cancels_but_the_shared_one_stays(cu3au_system: SurfaceSystem) -> None:
    errors = surface_free_energies(cu3au_system, State(potentials_ev={"Au": -0.02})).errors_ev_per_ang2
    # 0.3 eV per Cu3Au would be 0.035 eV/A2 for these slabs
    assert errors == pytest.approx((np.hypot(0.01, 0.002),) * 2)


def test_what_cannot_be_balanced_is_refused(water_system: Callable[..., SurfaceSystem]) -> None:
    system = water_system()
    with pytest.raises(ReservoirError, match="Si1 cannot be made of AlPO4, H2O; add a reservoir"):
        units_taken({"Si": 1}, system.reservoirs)
    again = system.reservoirs[0].model_copy(update={"name": "twice"})
    with pytest.raises(ReservoirError, match="in several ways"):
        units_taken({"Al": 1, "P": 1, "O": 4}, (*system.reservoirs, again))
    with pytest.raises(ThermodynamicsError, match="no pressure of H2O is given"):
        surface_free_energies(system, State())
    with pytest.raises(SupersaturatedError, match="condenses"):
        surface_free_energies(system, State(pressures_bar={"H2O": 0.1}))
    with pytest.raises(ReservoirError, match="no reservoir 'H20'; did you mean 'H2O'"):
        stable_range_ev(system, ROOM, "H20")
    with pytest.raises(ValidationError, match="no data for the gas 'Ar'"):
        Reservoir(name="Ar", kind="gas", composition={"Ar": 1}, energy_ev=0.0)
    with pytest.raises(ValidationError, match="two of the slabs have one name"):
        SurfaceSystem(slabs=(system.slabs[0],) * 2, reservoirs=system.reservoirs)


def test_json_round_trip(cu3au_system: SurfaceSystem) -> None:
    assert SurfaceSystem.model_validate_json(cu3au_system.model_dump_json()) == cu3au_system
    result = surface_free_energies(cu3au_system, State(potentials_ev={"Au": -0.02}))
    assert type(result).model_validate_json(result.model_dump_json()) == result
