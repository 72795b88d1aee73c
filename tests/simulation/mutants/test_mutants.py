"""Each planted bug is found by its seed: a simulation that finds nothing proves nothing."""

import pytest

from tests.simulation.mutants.all_planted import MUTANTS
from tests.simulation.mutants.left_out import NOT_PLANTED
from tests.simulation.mutants.mutant import Mutant
from tests.simulation.mutants.planting import find, misfits

NUMBERS = range(1, 48)


def test_each_old_text_occurs_once():
    assert [misfit for mutant in MUTANTS for misfit in misfits(mutant)] == []


def test_each_number_is_planted_or_has_a_reason():
    assert sorted([*(mutant.number for mutant in MUTANTS), *NOT_PLANTED]) == list(NUMBERS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.number}-{mutant.name.replace(' ', '-')}")
def test_its_seed_finds_a_planted_bug(mutant: Mutant):
    assert find(mutant, mutant.seed, 1, timeout_s=50)
