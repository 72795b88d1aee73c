"""The planted bugs of groups, folds, pages and siblings."""

from tests.simulation.mutants.mutant import SQL, Edit, Mutant

OF_GROUPS: tuple[Mutant, ...] = (
    Mutant(
        19,
        "page not recorded",
        Edit(
            "worker/workflows.py",
            "            page.row.input = page_input(page.feed, page.after, upto)\n"
            "            self._engine.commits.spawn([page.row])\n"
            "            self._engine.commits.page(page.end)\n",
            "            async def read() -> None:\n"
            "                await self.read(workflow, page.end)\n"
            "                if workflow.is_closed or workflow.is_over or page.row.id not in workflow._handles:\n"
            "                    return\n"
            "                workflow.deliver([page.end], (), self._engine.clock.now_ms())\n"
            "                workflow.consumed -= 1\n"
            "                self._after_turn(workflow)\n"
            "            self.feeds.work(read())\n",
        ),
    ),
    Mutant(
        26,
        "group sealed before its last chunk",
        Edit(
            "worker/feeds.py",
            "        if new:\n            self.insert(new)\n"
            "        if not members.is_open:\n            self.seal(feed)\n",
            "        if not members.is_open:\n            self.seal(feed)\n"
            "        if new:\n            asyncio.get_running_loop().call_soon(self.insert, new)\n"
            "        if not members.is_open:\n            return\n",
        ),
    ),
    Mutant(
        27,
        "watermark committed without the accumulator",
        Edit(
            SQL,
            "UPDATE runs SET output = c.output, progress = c.progress\n",
            "UPDATE runs SET output = coalesce(runs.output, c.output), progress = c.progress\n",
        ),
    ),
    Mutant(
        28,
        "value dropped before the watermark commits",
        Edit(
            SQL,
            "runs.seq > c.behind AND runs.seq <= c.upto AND",
            "runs.seq > c.behind AND runs.seq <= c.upto + 1 AND",
        ),
    ),
    Mutant(
        29,
        "fold takes a delivery twice after a crash",
        Edit(
            "worker/folds.py",
            'self.watermark = self._recorded = decode_text(progress)["done"]',
            'self.watermark = self._recorded = max(decode_text(progress)["done"] - 1, 0)',
        ),
    ),
    Mutant(
        30,
        "siblings committed apart from the spawner's result",
        Edit(
            "engine/committer.py",
            '        self._after_new("siblings", command)\n',
            '        self.spawn(command.new)\n        self._after_new("siblings", command._replace(new=[]))\n',
        ),
    ),
    Mutant(
        31,
        "open lowered before raised in a sibling's commit",
        Edit(
            "store/store.py",
            "        await self._insert(rows)\n        self._outcome.woken = True\n",
            "        self._outcome.woken = True\n",
        ),
        Edit(
            "store/store.py",
            "        await self._return([command.end for command in accepted])\n",
            "        await self._return([command.end for command in accepted])\n        await self._insert(rows)\n",
        ),
        Edit(
            SQL,
            "s.id = {int:19} AND s.epoch = {int:3} AND {from:complete s}))",
            "s.id = {int:19} AND s.epoch = {int:3}))",
        ),
    ),
    Mutant(
        32,
        "error digest counts a member twice",
        Edit(
            "store/group_endings.py",
            "note_failures(group.digest, failed[group.id], names)",
            "note_failures(group.digest, failed[group.id] * 2, names)",
        ),
    ),
)
