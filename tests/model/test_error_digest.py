"""The digest of a group's failures: exact counts in a text of bounded size, and a sentence that people read."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.model.error_digest import (
    MAX_DIGEST,
    MAX_EXAMPLE,
    MAX_KEY,
    MAX_PATTERN,
    MAX_TYPE,
    MOST_EXAMPLES,
    MOST_KINDS,
    ErrorDigest,
    Summary,
    pattern,
    read_failure,
)
from fanfold.model.keys import content_key, user_key
from fanfold.worker.failures import failure_text

TEXTS = (
    st.text(max_size=700)
    | st.text("'\"`/\\ a1e0xf.-:~,(“”\n%+=", max_size=700)
    | st.text('\0"\\\ud800行😀', min_size=90)
)
TYPES = st.sampled_from(["OSError", "ValueError", "KeyError"]) | TEXTS
KEYS = st.none() | TEXTS.map(user_key) | st.just(content_key("abc", 0))
FAILURES = st.tuples(TYPES, TEXTS, st.integers(1, 2**63 - 1), KEYS, st.none() | st.integers(0, 10**9))
WORDS = [f"{'abcdefghij'[i // 10]}{'abcdefghij'[i % 10]}" for i in range(100)]


def size(value) -> int:
    return len(msgspec.json.encode(value))


def digest_of(failures) -> ErrorDigest:
    digest = ErrorDigest()
    for failure in failures:
        digest.add(*failure)
    return digest


def sentence(failures, spawned: int, cancelled: int = 0) -> str:
    """Return what a group with these failures and cancelled members prints; its other members completed."""
    completed = spawned - len(failures) - cancelled
    return str(digest_of(failures).summary(spawned, completed, len(failures), cancelled))


def failed(error_type: str, message: str, *names: str) -> list[tuple]:
    """Return failures of members with these keys; `{}` in the message is the key."""
    return [(error_type, message.format(name), 100, user_key(name)) for name in names]


# Counting -------------------------------------------------------------------------------------------------------------


@given(st.lists(FAILURES, max_size=60), st.sets(st.integers(0, 60)))
def test_counts_are_exact_and_the_text_does_not_tell_how_the_failures_were_batched(failures, stops):
    digest = ErrorDigest.decode(None)
    for place, failure in enumerate(failures):
        if place in stops:
            digest = ErrorDigest.decode(digest.encode())
        digest.add(*failure)
    assert digest.encode() == digest_of(failures).encode()
    summary = digest.summary(100, 0, len(failures), 0)
    assert sum(kind.count for kind in summary.errors) == len(failures)
    counts = [kind.count for kind in summary.errors]
    assert counts == sorted(counts, reverse=True)


@given(st.lists(st.tuples(st.sampled_from(["E", "F"]), st.sampled_from(WORDS)), max_size=600))
def test_the_first_hundred_kinds_are_told_apart_and_the_rest_is_counted(kinds):
    digest = digest_of([(*kind, place, None, place) for place, kind in enumerate(kinds)])
    first = set(list(dict.fromkeys(kinds))[:MOST_KINDS])
    summary = ErrorDigest.decode(digest.encode()).summary(1000, 0, len(kinds), 0)
    told = {(kind.error_type, kind.message): kind for kind in summary.errors}
    assert {kind: one.count for kind, one in told.items()} == Counter(kind for kind in kinds if kind in first)
    assert summary.other == sum(kind not in first for kind in kinds)
    for kind, one in told.items():
        places = [place for place, other in enumerate(kinds) if other == kind]
        assert [example.run_id for example in one.examples] == places[:MOST_EXAMPLES]


def test_an_example_names_a_member_by_its_key_else_its_place_else_its_run():
    digest = digest_of(
        [("E", "m", 7, "k:shard-3", 2), ("E", "m", 8, "k#2:a", None), ("E", "m", 9, "c:x:0", 2), ("E", "m", 9)]
    )
    (kind,) = digest.summary(9, 0, 4, 0).errors
    assert [example.key for example in kind.examples] == ["shard-3", "a", "#2", "run 9"]


# Size -----------------------------------------------------------------------------------------------------------------


@given(FAILURES)
def test_no_text_is_longer_than_its_share(failure):
    (kind,) = digest_of([failure]).summary(1, 0, 1, 0).errors
    (example,) = kind.examples
    assert size(kind.error_type) - 2 <= MAX_TYPE
    assert size(kind.message) - 2 <= MAX_PATTERN
    assert size(example.key) - 2 <= MAX_KEY
    assert size(example.key) + size(example.message) - 4 <= MAX_EXAMPLE


def test_the_largest_digest_is_within_its_bound():
    full = digest_of(
        ("T" * 99, f"{word} {'m' * 600}", 2**63 - 1, f"k:{'k' * 400}") for word in WORDS for _ in range(MOST_EXAMPLES)
    )
    stored = msgspec.json.decode(full.encode())
    stored["other"] = 10**15
    for kind in stored["kinds"]:
        kind["count"] = 10**15
        assert (len(kind["error_type"]), len(kind["message"])) == (MAX_TYPE, MAX_PATTERN)
        assert [len(e["key"] + e["message"]) for e in kind["examples"]] >= [MAX_EXAMPLE - 2] * MOST_EXAMPLES
    # Half of an odd remainder stays unused: two bytes of an example at most.
    assert 145_000 < size(stored) + 2 * MOST_KINDS * MOST_EXAMPLES < MAX_DIGEST
    assert digest_of([]).encode() == '{"kinds":[],"other":0}'


@pytest.mark.parametrize("letter", ["a", '"', "\\", "é", "行", "😀", "\0", "\ud800", "/", "'"])
def test_whatever_members_say_the_digest_is_within_its_bound(letter: str):
    digest = digest_of(
        (letter * 900, word + letter * 9000, 2**63 - 1, f"k:{letter * 512}") for word in WORDS for _ in range(6)
    )
    assert len(digest.encode().encode()) < MAX_DIGEST


def test_of_a_long_key_and_a_long_message_both_ends_are_kept():
    (kind,) = (
        digest_of([("E", f"No such file: /{'d/' * 300}17.txt", 1, f"k:/data/{'d/' * 300}17.txt")])
        .summary(1, 0, 1, 0)
        .errors
    )
    (example,) = kind.examples
    assert example.key.startswith("/data/d/")
    assert example.key.endswith("d/17.txt")
    assert example.message.startswith("No such file: /d/")
    assert example.message.endswith("d/17.txt")
    assert kind.message == "No such file: <path>"


# Patterns -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("", ""),
        ("Connection refused", "Connection refused"),
        ("No such file: /a/b/17.txt", "No such file: <path>"),
        ("[Errno 13] Permission denied: '/a/My Documents/17.txt'", "[Errno 13] Permission denied: <path>"),
        ("[Errno 111] Connect call failed ('127.0.0.1', 8000)", "[Errno 111] Connect call failed (<text>, <n>)"),
        (r"cannot open C:\Users\ann\17.txt", "cannot open <path>"),
        (
            "read ../a, ./b ~/c (/tmp/d:12) in=/e/f, src/g/h and docs/i.md",
            "read <path>, <path> <path> (<path>:<n>) in=<path>, <path> and <path>",
        ),
        ("404 for url: https://example.org/a/b?c=1#d, see http://x.y/", "<n> for url: <path>, see <path>"),
        ("I/O error on n/a and/or 3/4 of 12/05/2024", "I/O error on n/a and/or <n>/<n> of <n>/<n>/<n>"),
        ("row 17: 3.14 is not in 1,204 .. 1e-05", "row <n>: <n> is not in <n> .. <n>"),
        ("at 2024-01-02T03:04:05.678 and shard-17b", "at <n>-<n>-<n>T<n> and shard-<n>b"),
        ("user 123e4567-e89b-12d3-a456-426614174000 at 0x7f3a, commit a1b2c3d", "user <hex> at <hex>, commit <hex>"),
        ("isn't 'known' to the users' \"file\" `x` “y”", "isn't <text> to the users' <text> <text> <text>"),
        ("bad value 'it\\'s 1' in b'raw'", "bad value <text> in b<text>"),
        ("cut off in 'the middle of 17", "cut off in <text>"),
        ("2 errors for Row\n  price\n\tmust be int\0", "<n> errors for Row price must be int "),
        ("x" * 200, "x" * 117 + "..."),
    ],
)
def test_what_differs_from_member_to_member_is_replaced(message: str, expected: str):
    assert pattern(message) == expected


def test_a_path_in_quotes_is_a_path_and_a_word_in_quotes_is_text():
    assert pattern(r"open '/a/b' or 'C:\\a' as 'b\n'") == "open <path> or <path> as <text>"


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.uuids(), st.uuids())
def test_members_that_differ_in_numbers_paths_and_identifiers_alone_are_of_one_kind(one, other, this, that):
    template = "row {0} of /data/{0}/{1}.csv ({1}, 0x{0:x}, '{0} {1}') is -{0}.5"
    assert pattern(template.format(one, this)) == pattern(template.format(other, that))


# What is recorded -----------------------------------------------------------------------------------------------------


def test_class_and_message_of_a_recorded_error_are_found():
    failure = read_failure(failure_text(PermissionError(13, "Permission denied", "/a/b"), 3))
    assert (failure.type, failure.message) == ("PermissionError", "[Errno 13] Permission denied: '/a/b'")


@pytest.mark.parametrize("text", [None, "{}"])
def test_a_failure_without_a_record_is_an_exception(text: str | None):
    assert (read_failure(text).type, read_failure(text).message) == ("Exception", "")


# The sentence ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((0, 0, 0, 0), "no members"),
        ((1, 1, 0, 0), "1 of 1 completed"),
        ((10_000, 10_000, 0, 0), "all 10,000 completed"),
        ((10, 7, 0, 3), "7 of 10 completed, 3 cancelled"),
        ((10, 5, 0, 3), "5 of 10 completed, 3 cancelled, 2 not ended"),
        ((10, 0, 2, 3), "2 of 10 failed, 3 cancelled, 5 not ended"),
    ],
)
def test_numbers_alone_make_a_sentence(numbers, expected: str):
    assert str(Summary(*numbers)) == expected


def test_a_few_failures_of_one_kind_are_named():
    denied = failed("PermissionError", "[Errno 13] Permission denied: '/a/{}'", "X", "Y", "Z")
    assert sentence(denied, 238_112) == "3 of 238,112 failed: PermissionError on X, Y, Z"
    bad = failed("ValueError", "bad row 1{}", "7", "8")
    assert sentence(bad, 10, 3) == "2 of 10 failed, 3 cancelled: ValueError on 7, 8: bad row <n>"


def test_one_failure_says_what_it_said():
    assert sentence(failed("ValueError", "bad row 17", "a"), 10) == "1 of 10 failed: ValueError on a: bad row 17"


def test_a_message_that_is_all_placeholder_is_not_shown():
    assert sentence(failed("KeyError", "'{}'", "a", "b"), 10) == "2 of 10 failed: KeyError on a, b"


def test_many_failures_of_one_kind_are_shown_by_examples():
    missing = failed("OSError", "No such file: /a/{}.txt", *"abcdefgh")
    assert sentence(missing, 10) == "8 of 10 failed: OSError: No such file: <path> (such as on a, b, c, d, e)"


def test_two_kinds_are_told_with_their_counts_the_more_frequent_one_first():
    failures = failed("ValueError", "bad row {}", "1", "2") + failed("OSError", "No such file: /a/{}", *"abcdefg") * 200
    assert sentence(failures, 50_000) == (
        "1,402 of 50,000 failed: 1,400 OSError: No such file: <path> (such as on a, b, c, d, e), "
        "2 ValueError: bad row <n> (on 1, 2)"
    )


def test_of_five_kinds_all_are_shown_and_of_more_the_first_four():
    kinds = [one for place, word in enumerate(WORDS[:7]) for one in failed("E", word, *["k"] * (9 - place))]
    five = sentence(kinds[:35], 100)
    assert five.count(" E: ") == 5
    assert "and" not in five
    assert sentence(kinds, 100) == (
        "42 of 100 failed: 9 E: aa (such as on k, k, k), 8 E: ab (such as on k, k, k), 7 E: ac (such as on k, k, k), "
        "6 E: ad (such as on k, k, k), and 12 of 3 other kinds of error"
    )


def test_where_kinds_were_not_told_apart_any_more_the_sentence_says_so():
    failures = failed("E", "ab", "k") + [("E", a + b, 1) for a in WORDS for b in WORDS[:3]]
    assert sentence(failures, 1000).endswith("and 297 of more than 96 other kinds of error")


@given(st.lists(FAILURES, min_size=1, max_size=30))
def test_whatever_members_say_the_sentence_is_one_line_of_bounded_length(failures):
    text = sentence(failures, 1000)
    assert "\n" not in text
    assert len(text) < 2_000


def test_a_summary_comes_back_from_its_json():
    summary = digest_of(failed("E", "m {}", "a", "b")).summary(3, 1, 2, 0)
    assert msgspec.json.decode(msgspec.json.encode(summary), type=Summary) == summary
