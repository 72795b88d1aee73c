"""Every Python block in the documents runs.

The blocks of a document are one program, in their order, as its reader types them. A block whose first line is
`# file: name.py` is a file of its own instead: it is written beside the program, where later blocks can import it,
and runs by itself. A block marked `python no-run: reason` only has to parse, and without a reason it is refused.
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.documents import Block, Document, documents
from tests.house.source import ROOT

NO_RUN = re.compile(r"python no-run: \S.*")
SAID_PYTHON = re.compile(r"py|ipython", re.IGNORECASE)


def refused_blocks(document: Document) -> Iterator[str]:
    """A Python block is plainly marked `python`, so that none slips by; one that may not run says why and parses."""
    for block in document.blocks:
        where = f"{document.path}:{block.line}"
        if block.info == "python":
            continue
        if NO_RUN.fullmatch(block.info):
            try:
                ast.parse(block.text)
            except SyntaxError as error:
                yield f"{where}: does not parse: {error.msg}"
        elif SAID_PYTHON.match(block.info):
            yield f"{where}: mark it `python`, or `python no-run: reason`; not `{block.info}`"


def programs(document: Document) -> dict[str, str]:
    """Return the programs of a document by file name, those with a file of their own first.

    In the common program each line keeps its number, so that a traceback points into the document.
    """
    blocks = [block for block in document.blocks if block.info == "python"]
    own = {block.file: block.text for block in blocks if block.file}
    common = [block for block in blocks if not block.file]
    return own | ({program_name(document): at_their_lines(common)} if common else {})


def program_name(document: Document) -> str:
    """Name the common program so that it can be told from any file that a document makes."""
    return re.sub(r"\W", "_", document.path) + ".py"


def at_their_lines(blocks: list[Block]) -> str:
    """Join blocks, each at the line where it stands in its document."""
    lines: list[str] = []
    for block in blocks:
        lines += [""] * (block.line - 1 - len(lines))
        lines += block.text.splitlines()
    return "\n".join(lines) + "\n"


def run(document: Document, folder: Path) -> Iterator[str]:
    """Write all programs of a document into a folder, run each there, and tell of those that fail."""
    written = programs(document)
    for name, text in written.items():
        (folder / name).write_text(text)
    settings = {"PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1", "PYTHONWARNINGS": "error"}
    for name in written:
        command = [sys.executable, name]
        ended = subprocess.run(
            command, cwd=folder, env=os.environ | settings, capture_output=True, text=True, check=False
        )
        if ended.returncode != 0:
            yield f"{document.path}, {name}: exit {ended.returncode}\n{ended.stdout}{ended.stderr}"


@pytest.mark.parametrize("document", documents(), ids=lambda document: document.path)
def test_the_programs_of_a_document_run(document: Document, tmp_path: Path):
    assert not list(refused_blocks(document))
    assert not list(run(document, tmp_path))


def written(*blocks: tuple[str, str]) -> Document:
    """Make a document of (info, text) blocks."""
    return Document("a.md", "# Title\n\n" + "\n".join(f"```{info}\n{text}\n```\n" for info, text in blocks))


def test_blocks_share_a_namespace_in_their_order(tmp_path: Path):
    document = written(("python", "x = 1"), ("sh", "make demo"), ("python", "assert x == 1"))
    assert not list(run(document, tmp_path))


def test_a_block_that_fails_is_found_at_its_line(tmp_path: Path):
    document = written(("python", "x = 1"), ("python", "assert x == 2"))
    [told] = run(document, tmp_path)
    assert document.text.splitlines()[7] == "assert x == 2"
    assert 'a_md.py", line 8' in told


def test_a_block_with_a_file_name_is_a_program_of_its_own(tmp_path: Path):
    own = ("python", "# file: orders.py\nx = 1")
    assert not list(run(written(own, ("python", "import orders\nassert orders.x == 1")), tmp_path))
    assert list(run(written(own, ("python", "assert x == 1")), tmp_path))


def test_a_block_in_a_list_runs_without_its_indentation(tmp_path: Path):
    assert not list(run(Document("a.md", "- item\n\n  ```python\n  x = 1\n  ```\n"), tmp_path))


@pytest.mark.parametrize("info", ["python no-run", "python no-run:", "python3", "py", "Python", "python title=x"])
def test_a_block_that_would_slip_by_is_refused(info: str):
    assert len(list(refused_blocks(written((info, "x = 1"))))) == 1


def test_a_block_that_may_not_run_says_why_and_parses():
    assert not list(refused_blocks(written(("python no-run: needs an S3 bucket", "x = 1"))))
    assert list(refused_blocks(written(("python no-run: needs an S3 bucket", "x = = 1"))))
