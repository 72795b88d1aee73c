"""What a planted bug is: which text of the package is replaced by which."""

from typing import NamedTuple

from tests.simulation.mutants.seeds import SEEDS


class Edit(NamedTuple):
    """One change: `old` occurs exactly once in `file`, a path below src/fanfold."""

    file: str
    old: str
    new: str


class Mutant:
    """One planted bug, and the seed that finds it."""

    def __init__(self, number: int, name: str, *edits: Edit) -> None:
        self.number = number
        self.name = name
        self.seed = SEEDS.get(number, 0)
        self.edits = edits


SQL = "store/statements.sql"
READS = "store/queries.sql"
