"""As many tasks as there turn out to be items, and their results in one: `python fan_out_fan_in.py`.

How many there are is known when the first task has looked. What fails is an outcome as any other; the rest is counted.
"""

import asyncio

from fanfold import App, TaskFailed

app = App("fan-out-fan-in")


@app.task
def find_documents(folder: str) -> list[str]:
    """List what there is to do; here it is made up."""
    return [f"{folder}/page-{number}.txt" for number in range(1, 26)]


@app.task
async def count_words(document: str) -> int:
    """Do the work on one item."""
    number = int(document.rpartition("-")[2].removesuffix(".txt"))
    if number == 13:
        raise ValueError(f"{document} cannot be read")
    return 100 * number


@app.workflow
async def count_all(folder: str) -> str:
    """Fan out over what was found, fold the results."""
    documents = await find_documents(folder)
    counts = await asyncio.gather(*(count_words(document) for document in documents), return_exceptions=True)
    failed = [count for count in counts if isinstance(count, TaskFailed)]
    words = sum(count for count in counts if isinstance(count, int))
    return f"{words:,} words in {len(counts) - len(failed)} documents; {len(failed)} failed: {failed[0].message}"


if __name__ == "__main__":
    print(app.run(count_all, "archive"))
