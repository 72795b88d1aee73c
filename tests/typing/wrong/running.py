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


async def find() -> None:
    await app.get("12")  # error: reportArgumentType
    await app.get(double)  # error: reportArgumentType
    await app.get(double, 3)  # error: reportArgumentType
    found = await app.get(double, "k")
    text: str = await found.result()  # error: reportAssignmentType
    found.cancel()  # error: reportUnusedCoroutine
    for _child in found.children():  # error: reportGeneralTypeIssues, reportUnknownVariableType
        print(text)
    app.runs(tags={"by": 3})  # error: reportArgumentType
    app.runs(since="yesterday")  # error: reportArgumentType


def block() -> None:
    app.blocking.start(double, "3")  # error: reportArgumentType
    app.blocking.start(double)  # error: reportCallIssue
    text: str = app.blocking.start(double, 3).result()  # error: reportAssignmentType
    app.blocking.get(double)  # error: reportArgumentType
    print(text)
