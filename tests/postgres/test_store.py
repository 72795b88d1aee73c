"""What the store promises, on both databases at once: each answer is compared, and at the end every table.

These are the tests of `tests/store`; here `bench` is a store on SQLite and PostgreSQL together.
"""

# ruff: noqa: F403 - they are collected from here once more

from tests.store.test_cancel import *
from tests.store.test_claim import *
from tests.store.test_concurrency import *
from tests.store.test_end import *
from tests.store.test_evict import *
from tests.store.test_folds import *
from tests.store.test_groups import *
from tests.store.test_insert import *
from tests.store.test_progress import *
from tests.store.test_recovery import *
from tests.store.test_retry import *
from tests.store.test_return import *
from tests.store.test_siblings import *
from tests.store.test_suspects import *
from tests.store.test_timers import *
