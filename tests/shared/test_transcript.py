from __future__ import annotations

from hashlib import blake2b

from hypothesis import given
from hypothesis import strategies as st

from shared.transcript import Transcript


def test_digest_is_the_documented_chain() -> None:
    transcript = Transcript()
    transcript.extend([3, 2047])
    first = blake2b(bytes(8) + (3).to_bytes(4, "little"), digest_size=8).digest()
    second = blake2b(first + (2047).to_bytes(4, "little"), digest_size=8).digest()
    assert [transcript.digest(n) for n in range(3)] == [0, *(int.from_bytes(d, "little") for d in (first, second))]


@given(st.lists(st.integers(0, 2**31 - 1), max_size=30), st.lists(st.integers(0, 2**31 - 1), max_size=30), st.data())
def test_truncating_and_growing_again_gives_the_digests_of_the_ids(
    first: list[int], then: list[int], data: st.DataObject
) -> None:
    kept = data.draw(st.integers(0, len(first)))
    changed, direct = Transcript(), Transcript()
    changed.extend(first)
    changed.truncate(kept)
    changed.extend(then)
    direct.extend(first[:kept] + then)
    assert list(changed.ids) == list(direct.ids)
    assert [changed.digest(n) for n in range(len(changed) + 1)] == [direct.digest(n) for n in range(len(direct) + 1)]
