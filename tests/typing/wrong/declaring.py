"""What may not be decorated."""

from fanfold import App

app = App("orders", retries=3)  # error: reportCallIssue
other = App(store=3)  # error: reportArgumentType


@app.workflow  # error: reportArgumentType
def plain(n: int) -> int:
    return n


@app.workflow(name="named")  # error: reportArgumentType
def plain_and_named(n: int) -> int:
    return n


@app.task(name=3)  # error: reportArgumentType
def misnamed(n: int) -> int:
    return n


@app.task(color="red")  # error: reportCallIssue, reportUntypedFunctionDecorator
def unknown_option(n: int) -> int:
    return n


@app.task("default")  # error: reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator
def positional_option(n: int) -> int:
    return n


class Shop:
    @app.task
    def order(self, item: str) -> int:
        return len(item)


# Tasks are functions: a method is refused when its class is made, and its calls lack an argument.
Shop().order("book")  # error: reportCallIssue
