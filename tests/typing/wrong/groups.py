"""Groups that must not pass: policies that do not go together, members called wrongly, steps that do not fit."""

from fanfold import App, open_group

app = App()


@app.task
async def square(n: int) -> int:
    return n * n


def join(text: str, value: str) -> str:
    return text + value


def add(total: int, value: int) -> int:
    return total + value


@app.workflow
async def policies() -> None:
    await square.map([1], failures="some")  # error: reportCallIssue, reportArgumentType
    await square.map([1], max_failures=3)  # error: reportCallIssue
    await square.map(3)  # error: reportArgumentType
    open_group(max_failures=3)  # error: reportCallIssue


@app.workflow
async def members() -> None:
    group = open_group()
    group.spawn(square, "1")  # error: reportArgumentType
    group.spawn(square)  # error: reportCallIssue
    group.spawn(square, m=1)  # error: reportCallIssue
    group.spawn(print, 1)  # error: reportArgumentType, reportCallIssue


@app.workflow
async def steps() -> None:
    group = square.map([1])
    await group.fold(join, "")  # error: reportArgumentType
    await group.fold(add, "")  # error: reportArgumentType
    group.summary.failed = 3  # error: reportAttributeAccessIssue
