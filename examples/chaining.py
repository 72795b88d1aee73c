"""A sequence of tasks, each with the result of the one before: `python chaining.py`.

Kill it between two steps and start it again: steps that are done are not done twice.
"""

from fanfold import App

app = App("chaining")


@app.task
def fetch(order_id: int) -> list[float]:
    """Read the prices of an order from somewhere."""
    return [12.5, 30.0, 7.25 + order_id]


@app.task
def add_tax(prices: list[float], rate: float) -> float:
    """Sum up, with tax."""
    return sum(prices) * (1 + rate)


@app.task
def invoice(order_id: int, total: float) -> str:
    """Write the invoice."""
    return f"order {order_id}: {total:.2f} EUR"


@app.workflow
async def bill(order_id: int) -> str:
    """Do one step after the other."""
    prices = await fetch(order_id)
    total = await add_tax(prices, rate=0.2)
    return await invoice(order_id, total)


if __name__ == "__main__":
    print(app.run(bill, 7))
