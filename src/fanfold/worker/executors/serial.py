"""Sync bodies for tests: in threads, since they may wait for children, but one at a time: nothing is left to chance."""

from __future__ import annotations

import threading
from typing import Any

from fanfold.worker.body import Body
from fanfold.worker.executors.threads import ThreadExecutor


class SerialExecutor(ThreadExecutor):
    """Whoever holds the baton runs: the loop, or the thread of one body until it ends or waits."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._baton = threading.Semaphore(0)

    def _hand_over(self, body: Body) -> None:
        super()._hand_over(body)
        self._baton.acquire()

    def resting(self) -> None:
        """Give the baton back to the loop."""
        self._baton.release()

    def wake_thread(self, event: threading.Event) -> None:
        """Let a thread go on, and wait until it has come to rest again."""
        super().wake_thread(event)
        self._baton.acquire()
