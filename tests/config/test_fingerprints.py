"""Names and streams: the same for the same things, now and ever after."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.fingerprints import fingerprint, stream


@given(st.lists(st.tuples(st.text(max_size=3), st.integers(0, 50)), unique=True, min_size=2, max_size=20))
def test_streams_of_different_names_differ(names: list[tuple[str, int]]) -> None:
    seeds = [stream(name, "problem", seed) for name, seed in names]
    assert len(set(seeds)) == len(names)
    assert all(0 <= seed < 2**56 for seed in seeds)


def test_names_of_a_stream_do_not_run_together() -> None:
    assert stream("a", "b c") != stream("a", "b", "c") != stream("a b", "c")


def test_streams_and_fingerprints_never_change() -> None:
    """Measured once: another value would give every seed other splits and weights than in earlier results."""
    assert stream("split", "synthetic", 0) == 44093865194508943
    assert fingerprint("a", {"b": 1}) == "8b5348e0de4f9e59"


def test_a_fingerprint_does_not_follow_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint("a", "b") != fingerprint("b", "a") != fingerprint("ab")
