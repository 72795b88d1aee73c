"""`fanfold runs show`: the failed attempts before the one that counts."""

import json
from pathlib import Path

from fanfold import App, Retry


def test_a_run_is_shown_with_its_failed_attempts(fanfold):
    url = f"sqlite:///{Path('attempts.db').resolve()}"
    app, tries = App("attempts", store=url), []

    @app.task(retry=Retry(max_attempts=3, delay=0, jitter=0))
    async def flaky() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise OSError(f"try {len(tries)}")
        return len(tries)

    assert app.run(flaky) == 3
    shown = fanfold("runs", "show", 1, "--store", url).stdout
    assert [line.split("  ")[-1] for line in shown.splitlines() if line.startswith("failed ")] == [
        "OSError: try 1",
        "OSError: try 2",
    ]
    found = json.loads(fanfold("runs", "show", 1, "--store", url, "-o", "json").stdout)
    assert [attempt["error"]["message"] for attempt in found["failed_attempts"]] == ["try 1", "try 2"]
    assert "in flaky" in found["failed_attempts"][0]["error"]["traceback"]
