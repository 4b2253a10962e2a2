"""A pair's tokenizer file, and the ids of its end tokens: the same on node and hub."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from shared.errors import PairError
from shared.pair import Pair


def load_tokenizer(pair: Pair) -> Tokenizer:
    """The pair's tokenizer. Raises PairError for a file that is none, or another one than was recorded."""
    return read_tokenizer(pair.verify(pair.tokenizer))


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a file. Raises PairError for a file that is none."""
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers package raises bare Exception
        raise PairError(f"{path} is not a tokenizer file: {error}") from None


def ids_below(tokenizer: Tokenizer) -> int:
    """One more than the tokenizer's largest id: some leave ids out before those of their special tokens."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1


def end_ids(pair: Pair, tokenizer: Tokenizer) -> frozenset[int]:
    """The ids of the pair's end tokens. Raises PairError for a token that the tokenizer lacks."""
    ids = {token: tokenizer.token_to_id(token) for token in pair.end_tokens}
    missing = [token for token, token_id in ids.items() if token_id is None]
    if missing:
        raise PairError(
            f"the tokenizer of {pair.name!r} has no token {missing[0]!r}, which its manifest names as an end"
        )
    return frozenset(ids.values())


def require_known(pair: Pair, tokenizer: Tokenizer, ends: frozenset[int], known: int) -> None:
    """Raise PairError for an end that the target can never write, since it knows ids below `known` alone."""
    if max(ends) >= known:
        raise PairError(
            f"the target knows ids below {known}, and the tokenizer of {pair.name!r} gives {max(ends)} to "
            f"{tokenizer.id_to_token(max(ends))!r}: they do not belong together"
        )
