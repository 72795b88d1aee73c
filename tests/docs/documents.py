"""The Markdown files of the tree, read by a Markdown parser: their blocks of code, links and headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

from tests.house.source import ROOT, tracked_files

if TYPE_CHECKING:
    from markdown_it.token import Token

OWN_FILE = re.compile(r"# file: (\S+\.py)\n")


@dataclass(frozen=True)
class Block:
    """One fenced block: what stands after the fence, where its text starts (counted from 1), and the text."""

    info: str
    line: int
    text: str

    @property
    def file(self) -> str | None:
        """The name in a first line `# file: name.py`, which makes the block a file and a program of its own."""
        marker = OWN_FILE.match(self.text)
        return marker.group(1) if marker else None


@dataclass(frozen=True)
class Document:
    """One Markdown file: its path from the root of the tree, and its text."""

    path: str
    text: str

    @cached_property
    def tokens(self) -> "list[Token]":
        return MarkdownIt().enable("table").parse(self.text)

    @property
    def blocks(self) -> Iterator[Block]:
        for token in self.tokens:
            if token.type == "fence" and token.map:
                yield Block(token.info.strip(), token.map[0] + 2, token.content)

    @property
    def links(self) -> Iterator[str]:
        """The targets of all links and images, as they are written."""
        for token in self.inline_tokens:
            target = token.attrGet("href" if token.type == "link_open" else "src")
            if isinstance(target, str):
                yield target

    @property
    def commands(self) -> Iterator[str]:
        """What a reader may type: inline code, and the lines of shell and console blocks."""
        for token in self.inline_tokens:
            if token.type == "code_inline":
                yield token.content
        for block in self.blocks:
            if block.info in {"sh", "bash", "shell", "console"}:
                yield from block.text.splitlines()

    @property
    def anchors(self) -> set[str]:
        """The names by which headings can be linked to, made as code hosts make them."""
        pairs = zip(self.tokens, self.tokens[1:], strict=False)
        headings = [text.content for opened, text in pairs if opened.type == "heading_open"]
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

    @property
    def inline_tokens(self) -> "Iterator[Token]":
        for token in self.tokens:
            yield from token.children or ()


def documents() -> list[Document]:
    """Read every Markdown file of the tree."""
    paths = [path for path in tracked_files(ROOT) if path.suffix == ".md"]
    return [Document(path.relative_to(ROOT).as_posix(), path.read_text()) for path in paths]


def beside(document: Document, target: str, root: Path = ROOT) -> Path:
    """Resolve a relative link from the folder of its document; a leading slash means the root of the tree."""
    return root / target.lstrip("/") if target.startswith("/") else root / Path(document.path).parent / target
