"""Any sequence of commands does the same to both databases, and what the model says that it does."""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.postgres.twins import Postgres, TwinBench
from tests.store.bench import Bench
from tests.store.test_stateful import EXAMPLES, PROFILE, StoreMachine


@pytest.mark.timeout(300)
def test_any_sequence_of_commands_does_the_same_to_both_databases(postgres: Postgres):
    class TwinMachine(StoreMachine):
        def fresh_bench(self) -> Bench:
            return TwinBench(postgres)

        def compare(self) -> None:
            super().compare()
            self.bench.assert_equal()

    run_state_machine_as_test(TwinMachine, settings=settings(PROFILE, max_examples=max(EXAMPLES // 10, 1)))
