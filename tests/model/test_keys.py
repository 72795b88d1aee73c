"""The keys of children: no two calls that differ share one, and users get theirs back as they gave it."""

from hypothesis import given
from hypothesis import strategies as st

from fanfold.model.keys import content_key, of_attempt, shown, user_key

TEXTS = st.text() | st.sampled_from(["", ":", "#", "#2", "#2:", "k", "k:", "k#2:a", "c:x:0", "a:1", "1:a", "2", "é\0"])
COUNTS = st.integers(0, 10**6)
ATTEMPTS = st.integers(1, 10**6)
# What a call is known by: a user's key, or a content and a count; and the attempt that makes it.
CALLS = st.tuples(st.one_of(st.tuples(TEXTS), st.tuples(TEXTS, COUNTS)), ATTEMPTS | st.integers(1, 3))
INNER = ["p:/1/3:0", "p:/0:12", "x:1", "e:letter", "s:7:1", "p:k:a", "x:k"]


def key_of(call) -> str:
    known_by, attempt = call
    return of_attempt(user_key(*known_by) if len(known_by) == 1 else content_key(*known_by), attempt)


@given(CALLS, CALLS)
def test_calls_that_differ_have_keys_that_differ(one, two):
    assert (key_of(one) == key_of(two)) is (one == two)


@given(TEXTS, ATTEMPTS)
def test_a_users_key_is_shown_as_it_was_given_whichever_attempt_used_it(text: str, attempt: int):
    assert shown(user_key(text)) == text
    assert shown(of_attempt(user_key(text), attempt)) == text


@given(TEXTS, COUNTS, ATTEMPTS)
def test_a_key_that_is_no_users_is_not_shown(content: str, count: int, attempt: int):
    assert shown(of_attempt(content_key(content, count), attempt)) is None
    assert [shown(key) for key in (None, *INNER)] == [None] * (1 + len(INNER))


@given(CALLS)
def test_no_call_in_a_task_takes_a_key_of_another_kind(call):
    assert key_of(call).partition(":")[0].partition("#")[0] in {"k", "c"}
    assert key_of(call) not in INNER


@given(TEXTS, COUNTS)
def test_the_first_attempt_marks_nothing(text: str, count: int):
    assert of_attempt(user_key(text), 1) == f"k:{text}"
    assert of_attempt(content_key(text, count), 1) == f"c:{text}:{count}"


def test_a_later_attempt_marks_the_namespace_and_leaves_the_rest():
    assert of_attempt("k:a#3:b", 2) == "k#2:a#3:b"
    assert of_attempt("c:abc:0", 12) == "c#12:abc:0"
