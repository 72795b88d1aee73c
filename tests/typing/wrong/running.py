"""Starting and running with wrong arguments, and the two that are easily mixed up: `run` and `await start`."""

from fanfold import App, Run

app = App()


@app.task
def double(n: int) -> int:
    return 2 * n


@app.workflow
async def both(n: int, text: str = "") -> tuple[int, str]:
    return await double(n), text


def plain(n: int) -> int:
    return n


def run() -> None:
    app.run(double, "3")  # error: reportArgumentType
    app.run(double)  # error: reportCallIssue
    app.run(both, 3, txt="a")  # error: reportCallIssue
    app.run(both.options(key="k"), "3")  # error: reportArgumentType
    app.run(plain, 3)  # error: reportArgumentType
    app.run(double(3))  # error: reportArgumentType, reportCallIssue
    text: str = app.run(double, 3)  # error: reportAssignmentType
    print(text)


async def start() -> None:
    await app.run(both, 3)  # error: reportGeneralTypeIssues
    app.start(both, 3)  # error: reportUnusedCoroutine
    app.start(both, 3).result()  # error: reportAttributeAccessIssue, reportUnknownMemberType
    await app.start(both)  # error: reportCallIssue
    wrong: Run[str] = await app.start(double, 3)  # error: reportAssignmentType
    started = await app.start(double, 3)
    print(len(await started.result()), wrong)  # error: reportArgumentType
    await started.result(timeout="5")  # error: reportArgumentType
    await started.id  # error: reportGeneralTypeIssues
    started.status()  # error: reportUnusedCoroutine
    for _status in app.runs():  # error: reportGeneralTypeIssues, reportUnknownVariableType
        pass
    with app:  # error: reportGeneralTypeIssues
        pass
