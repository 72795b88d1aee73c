"""The digest of a group's failures: how many members failed, of what, and which ones to look at first.

It is kept in the transaction that ends the members, and stored as JSON text between two batches. Errors are told apart
by class and message, after what differs from member to member (numbers, paths, quoted text) was replaced by
placeholders. Whatever a million messages say, the text stays under `MAX_DIGEST`, and every count is exact.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from fanfold.model import keys

MOST_KINDS = 100  # of errors that are told apart; what comes after them is counted only
MOST_EXAMPLES = 5  # of each kind
# In bytes of JSON. A long key leaves less to the message of its example.
MAX_TYPE = 50
MAX_PATTERN = 120
MAX_KEY = 120
MAX_EXAMPLE = 200
MAX_DIGEST = 150 << 10

_LOOKED_AT = 500  # letters of a message
_CUT = "..."

# What a sentence shows of it.
_KINDS_SHOWN = 4
_EXAMPLES_SHOWN = 3
_MESSAGE_SHOWN = 100
_KEY_SHOWN = 60


class Failure(msgspec.Struct, frozen=True, gc=False):
    """What the digest wants to know of a recorded error; the traceback is passed over undecoded."""

    type: str = "Exception"
    message: str = ""


_failure = msgspec.json.Decoder(Failure).decode
_NO_RECORD = Failure()


def read_failure(error: str | None) -> Failure:
    """Return the class and the message of a failed member's recorded error."""
    return _NO_RECORD if error is None else _failure(error)


class Example(msgspec.Struct, frozen=True, gc=False):
    """A member that failed: its key (`#17`, its place among the items, if it has none) and what it said itself."""

    key: str
    run_id: int
    message: str


class ErrorKind(msgspec.Struct, frozen=True, gc=False):
    """Failures of one class whose messages differ in numbers, paths and quoted text at most.

    `message` has placeholders in their place: `<n>`, `<hex>`, `<path>`, `<text>`. `count` is of all such failures,
    `examples` are the first few.
    """

    error_type: str
    message: str
    count: int
    examples: tuple[Example, ...]


class _Stored(msgspec.Struct, gc=False):
    kinds: list[ErrorKind]
    other: int


class _Tally:
    """What is known of one kind while a batch is being counted."""

    __slots__ = ("count", "examples")

    def __init__(self, count: int, examples: Sequence[Example]) -> None:
        self.count = count
        self.examples = list(examples)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Stored)


class ErrorDigest:
    """Counts failures by kind. The same failures in the same order make the same text, however often it was stored."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str], _Tally] = {}
        self._other = 0

    @classmethod
    def decode(cls, text: str | None) -> ErrorDigest:
        """Return the digest that `encode` made the text of; an empty one for None."""
        digest = cls()
        if text is not None:
            stored = _decoder.decode(text)
            digest._tallies = {
                (kind.error_type, kind.message): _Tally(kind.count, kind.examples) for kind in stored.kinds
            }
            digest._other = stored.other
        return digest

    def encode(self) -> str:
        """Return the digest as JSON text of less than `MAX_DIGEST` bytes."""
        return _encoder.encode(_Stored(self._kinds(), self._other)).decode()

    def add(self, error_type: str, message: str, run_id: int, key: str | None = None, index: int | None = None) -> None:
        """Count one failed member.

        `key` is the member's key as it is stored, `index` its place among the items, if it has one.
        """
        kind = (_beginning(error_type, MAX_TYPE), pattern(message))
        tally = self._tallies.get(kind)
        if tally is None:
            if len(self._tallies) >= MOST_KINDS:
                self._other += 1
                return
            tally = self._tallies[kind] = _Tally(0, ())
        tally.count += 1
        if len(tally.examples) < MOST_EXAMPLES:
            tally.examples.append(_example(message, run_id, key, index))

    def summary(self, spawned: int, completed: int, failed: int, cancelled: int) -> Summary:
        """Return how a group with these counters ended, the most frequent errors first."""
        errors = tuple(sorted(self._kinds(), key=lambda kind: -kind.count))
        return Summary(spawned, completed, failed, cancelled, errors, self._other)

    def _kinds(self) -> list[ErrorKind]:
        return [
            ErrorKind(error_type, message, tally.count, tuple(tally.examples))
            for (error_type, message), tally in self._tallies.items()
        ]


# Messages ------------------------------------------------------------------------------------------------------------

# What can be passed over without a look stands in a set at the beginning, and what must not stand before a match is
# looked at after its first letter: so a text is searched at the speed of C.
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff]+")
_QUOTED = re.compile(
    r"""
    "(?<!\w.)[^"\\]*(?:\\.[^"\\]*)*(?:"|\Z)
    | '(?:(?<!\w.)|(?<=\bb.))[^'\\]*(?:\\.[^'\\]*)*(?:'|\Z)  # b'...' is one, an apostrophe is none
    | `[^`]*(?:`|\Z)
    | “[^”]*(?:”|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)
# Of one word that has a slash.
_PATH = re.compile(
    r"""
    (?<![\w+.-])[a-zA-Z][\w+.-]*://[^"'<>]*[\w/]                            # an address
    | (?<![\w./\\])(?:[a-zA-Z]:|~|\.\.?)?[/\\]{1,2}[\w.~$@%+-][^"'<>|:;,()\[\]{}]*  # /a/b, ./a, C:\a
    | (?<![\w.@%+~-])(?!\d+/\d)[\w.@%+~-]+(?:/[\w.@%+~=-]+){2,}/?           # a/b/c, but no date
    | (?<![\w.@%+~-])(?!\d+/\d)[\w.@%+~-]+/[\w@%+~-]*\.\w[\w.-]*            # a/b.txt
    """,
    re.VERBOSE,
)
_DIGIT = re.compile("[0-9]")
_HEX_LIKE = re.compile("[0-9](?:[xa-fA-F]|(?<=[a-fA-F].))")
_HEX = re.compile(
    r"""
    (?<![0-9a-zA-Z])(?:
        0x[0-9a-fA-F]+
        | [0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}
        | (?=[a-fA-F]*[0-9])(?=[0-9]*[a-fA-F])[0-9a-fA-F]{6,}
    )(?![0-9a-zA-Z])
    """,
    re.VERBOSE,
)
# The number in [Errno 13] is no difference between members: it says what kind of error it is.
_NUMBER = re.compile(r"[0-9](?<!Errno .)(?<![0-9].)[0-9]*(?:[.,:][0-9]+)*(?:[eE][-+]?[0-9]+)?")


def pattern(message: str) -> str:
    """Return what a message has in common with those of other members, in at most `MAX_PATTERN` bytes of JSON."""
    text = message[:_LOOKED_AT]
    if not text.isprintable():
        text = _UNPRINTABLE.sub(" ", text)
    if "'" in text or '"' in text or "`" in text or "“" in text:
        text = _QUOTED.sub(_placeholder, text)
    if "/" in text or "\\" in text:
        words = text.split(" ")
        text = " ".join([_PATH.sub("<path>", word) if "/" in word or "\\" in word else word for word in words])
    if _DIGIT.search(text):
        if _HEX_LIKE.search(text):
            text = _HEX.sub("<hex>", text)
        text = _NUMBER.sub("<n>", text)
    return _beginning(text, MAX_PATTERN)


def _placeholder(quoted: re.Match[str]) -> str:
    return "<path>" if "/" in quoted[0] or ":\\" in quoted[0] else "<text>"


def _example(message: str, run_id: int, key: str | None, index: int | None) -> Example:
    label = keys.shown(key)
    if label is None:
        label = f"run {run_id}" if index is None else f"#{index}"
    label = _ends(label, MAX_KEY)
    return Example(label, run_id, _ends(message, MAX_EXAMPLE - _size(label)))


def _size(text: str) -> int:
    return len(_encoder.encode(text)) - 2


def _beginning(text: str, most: int) -> str:
    """Return a text that takes at most `most` bytes of JSON, its end left out where it is longer."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text if len(text) <= most else text[: most - len(_CUT)] + _CUT
    text = _UNPRINTABLE.sub(" ", text)
    return text if _size(text) <= most else _within(text, most - len(_CUT)) + _CUT


def _ends(text: str, most: int) -> str:
    """Return the same, but leave out the middle: of a path both ends matter."""
    text = _UNPRINTABLE.sub(" ", text)
    if _size(text) <= most:
        return text
    half = (most - len(_CUT)) // 2
    return _within(text, half) + _CUT + _within(text[::-1], half)[::-1]


def _within(text: str, most: int) -> str:
    """Return as many letters as take at most `most` bytes of JSON."""
    data = _encoder.encode(text[:most])[1 : most + 1]
    if (len(data) - len(data.rstrip(b"\\"))) % 2:
        data = data[:-1]  # half of an escaped letter
    return msgspec.json.decode(f'"{data.decode("utf-8", "ignore")}"', type=str)


# The sentence ---------------------------------------------------------------------------------------------------------


class Summary(msgspec.Struct, frozen=True):
    """How a group's members ended; as text it is a sentence.

    `3 of 238,112 failed: PermissionError on archive/a, archive/b, archive/c`

    The four numbers count all members. `errors` are the kinds of failures, the most frequent first, at most 100;
    `other` counts what is of none of them.
    """

    spawned: int
    completed: int
    failed: int
    cancelled: int
    errors: tuple[ErrorKind, ...] = ()
    other: int = 0

    def __str__(self) -> str:
        left = self.spawned - self.completed - self.failed - self.cancelled
        also = f", {self.cancelled:,} cancelled" if self.cancelled else ""
        also += f", {left:,} not ended" if left else ""
        if self.failed:
            return f"{self.failed:,} of {self.spawned:,} failed{also}{self._reasons()}"
        if not self.spawned:
            return "no members"
        if also or self.spawned == 1:
            return f"{self.completed:,} of {self.spawned:,} completed{also}"
        return f"all {self.spawned:,} completed"

    def _reasons(self) -> str:
        """Say what the failures were; of many kinds the most frequent ones."""
        if not self.errors:
            return ""
        if len(self.errors) == 1 and not self.other:
            return f": {_alone(self.errors[0])}"
        is_short = len(self.errors) <= _KINDS_SHOWN + 1 and not self.other
        shown = self.errors if is_short else self.errors[:_KINDS_SHOWN]
        most = MOST_EXAMPLES if len(shown) <= 2 else _EXAMPLES_SHOWN
        parts = [f"{kind.count:,} {_described(kind)} ({_members(kind, most)})" for kind in shown]
        if not is_short:
            count = sum(kind.count for kind in self.errors[_KINDS_SHOWN:]) + self.other
            kinds = f"{'more than ' if self.other else ''}{len(self.errors) - _KINDS_SHOWN}"
            parts.append(f"and {count:,} of {kinds} other kinds of error")
        return f": {', '.join(parts)}"


def _alone(kind: ErrorKind) -> str:
    """Describe the only kind: there is nothing to tell it from, so the members come first if they are few."""
    if kind.count > len(kind.examples):
        return f"{_described(kind)} ({_members(kind, MOST_EXAMPLES)})"
    message = _message(kind)
    return f"{kind.error_type} {_members(kind, MOST_EXAMPLES)}{f': {message}' if message else ''}"


def _described(kind: ErrorKind) -> str:
    message = _message(kind)
    return f"{kind.error_type}: {message}" if message else kind.error_type


def _message(kind: ErrorKind) -> str:
    """Return what the members said, in their own words if they all said the same; nothing if the class says it."""
    said = {example.message for example in kind.examples}
    if len(said) == 1 and kind.count == len(kind.examples):
        return _middle_out(said.pop(), _MESSAGE_SHOWN)
    is_said = kind.message in ("<n>", "<hex>", "<path>", "<text>") or (
        kind.message.startswith("[Errno ") and kind.error_type != "OSError"  # its subclasses are named for their errno
    )
    return "" if is_said else _middle_out(kind.message, _MESSAGE_SHOWN)


def _members(kind: ErrorKind, most: int) -> str:
    named = ", ".join(_middle_out(example.key, _KEY_SHOWN) for example in kind.examples[:most])
    return f"on {named}" if kind.count <= most else f"such as on {named}"


def _middle_out(text: str, most: int) -> str:
    half = (most - len(_CUT)) // 2
    return text if len(text) <= most else text[:half] + _CUT + text[-half:]
