"""PostgreSQL: how the statements are written for it. The connection, through asyncpg, will live here as well.

Only what SQLite writes differently is said here; the statements themselves stand once, in the SQL files.
"""

from __future__ import annotations

import re
from typing import Final

from fanfold.store.database import Dialect

DIALECT: Final = Dialect(
    name="postgres",
    # jsonb: each row is parsed once, not again for every column. Rows come in their order and are numbered from 1.
    each="jsonb_array_elements({}::jsonb) WITH ORDINALITY e(value, key)",
    integer_column="(e.value ->> {})::bigint",
    text_column="(e.value ->> {})",
    rows="coalesce(json_agg(json_build_array({})), '[]')::text",
    lock="FOR UPDATE OF p",
    skip_locked="FOR UPDATE SKIP LOCKED",
    integer="bigint",
    id="bigint",
    text='text COLLATE "C"',
)

# PostgreSQL cannot find the type of each parameter from its use: it is an integer unless it stands here or has a cast.
_TEXTS: Final = frozenset({"queue", "name", "key", "state", "from_state", "output", "error", "options", "store_id"})
_PARAMETER: Final = re.compile(r"(?<!:):([a-z_]\w*)(?!\w)(?P<cast>::)?")


def positional(statement: str) -> tuple[str, tuple[str, ...]]:
    """Return a statement with typed `$1`, `$2` ... in place of its `:names`, and the names in that order."""
    names = tuple(dict.fromkeys(match[1] for match in _PARAMETER.finditer(statement)))

    def place(match: re.Match[str]) -> str:
        cast = match["cast"] or ("::text" if match[1] in _TEXTS else "::bigint")
        return f"${names.index(match[1]) + 1}{cast}"

    return _PARAMETER.sub(place, statement), names
