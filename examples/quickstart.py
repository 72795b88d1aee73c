"""A hundred durable children, mapped and summed up: `python quickstart.py`, and again after any crash."""

from fanfold import App

app = App("quickstart")


@app.task
async def square(n: int) -> int:
    """Do the work: anything may stand here."""
    return n * n


@app.workflow
async def sum_of_squares(n: int) -> int:
    """Fan out, fold back."""
    return sum(await square.map(range(n)))


if __name__ == "__main__":
    print(app.run(sum_of_squares, 100))
