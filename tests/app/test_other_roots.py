"""`app.run` says what else goes on: what an earlier start left unfinished is worked on as well."""

import asyncio
from pathlib import Path

import pytest

from fanfold import App


def test_a_run_names_the_unfinished_roots_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    app = App("others", store=f"sqlite:///{tmp_path}/others.db")

    @app.task
    def quick(n: int) -> int:
        return n

    async def leave(count: int) -> None:
        async with app:
            for n in range(count):
                await app.start(quick.options(delay=3600), n)

    assert app.run(quick, 100) == 100
    assert "also going on" not in capsys.readouterr().err
    asyncio.run(leave(1))
    assert app.run(quick, 101) == 101
    assert "also going on, unfinished since an earlier start: run 10001 (quick)\n" in capsys.readouterr().err
    asyncio.run(leave(4))
    assert app.run(quick, 102) == 102
    assert capsys.readouterr().err.rstrip().endswith(" and others")
