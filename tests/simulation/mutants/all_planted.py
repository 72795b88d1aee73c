"""All planted bugs, in the order of their numbers."""

from tests.simulation.mutants import catalogue, groups
from tests.simulation.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = tuple(sorted([*catalogue.MUTANTS, *groups.OF_GROUPS], key=lambda mutant: mutant.number))
