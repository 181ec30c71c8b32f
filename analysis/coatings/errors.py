"""What can go wrong when coatings are screened, by name."""

from ...structures.errors import SurfshiftError


class CoatingError(SurfshiftError):
    """Base of every refusal of the screening."""


class UnknownFormulaError(CoatingError):
    """A formula or name that cannot be read as a compound."""


class EmptyPhaseSpaceError(CoatingError):
    """An element for which the table has no phase: no number is given."""


class EnergyTableError(CoatingError):
    """A table of energies that cannot be read or is of another kind."""


class MissingKeyError(CoatingError):
    """The Materials Project was asked for without a key."""
