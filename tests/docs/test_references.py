"""What the documents point at exists: files, headings, make targets."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.documents import Document, beside, documents
from tests.house.source import ROOT

MAX_README_LINES = 250
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def broken_links(document: Document, root: Path = ROOT) -> Iterator[str]:
    """A relative link leads to a file or folder of the tree, and its fragment to a heading there."""
    for link in document.links:
        if ELSEWHERE.match(link):
            continue
        target, _, fragment = link.partition("#")
        path = beside(document, target, root) if target else root / document.path
        if target and not path.exists():
            yield f"{document.path}: {link} leads nowhere"
        elif fragment and path.suffix == ".md":
            page = document if not target else Document(target, path.read_text())
            if fragment not in page.anchors:
                yield f"{document.path}: {link} names no heading"


def unknown_targets(document: Document, makefile: str) -> Iterator[str]:
    """A `make` command in a document names a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    for command in document.commands:
        for target in re.findall(r"(?:^|\$ |&& )make ([a-z]+)", command):
            if target not in targets:
                yield f"{document.path}: make {target} is no command of this tree"


@pytest.mark.parametrize("document", documents(), ids=lambda document: document.path)
def test_every_reference_of_a_document_holds(document: Document):
    assert not list(broken_links(document))
    assert not list(unknown_targets(document, (ROOT / "Makefile").read_text()))


def test_the_readme_is_short():
    readmes = [document for document in documents() if document.path == "README.md"]
    assert all(len(readme.text.splitlines()) < MAX_README_LINES for readme in readmes)


def test_a_broken_link_is_found(tmp_path: Path):
    (tmp_path / "b.md").write_text("# A heading, with `code`\n")
    text = "[1](b.md) [2](b.md#a-heading-with-code) [3](https://example.org/x) [4](#top) ![5](/b.md)\n\n# Top\n"
    assert not list(broken_links(Document("a.md", text), tmp_path))
    assert list(broken_links(Document("a.md", "[1](c.md) [2](b.md#other) [3](#none)"), tmp_path)) == [
        "a.md: c.md leads nowhere",
        "a.md: b.md#other names no heading",
        "a.md: #none names no heading",
    ]


def test_an_unknown_make_target_is_found():
    document = Document("a.md", "Type `make tset`.\n\n```sh\nmake demo\n```\n\n```console\n$ make dmeo\n```\n")
    assert list(unknown_targets(document, "demo: venv\n")) == [
        "a.md: make tset is no command of this tree",
        "a.md: make dmeo is no command of this tree",
    ]
