"""What the built-in target writes alone, for tests that compare answers with it."""

from __future__ import annotations

from edge_node.dialogue.tokenizer import ChatTokenizer
from shared.pair import load_pair
from tools.rig.oracle import Oracle


def home_oracle() -> Oracle:
    """The target of the pair `home`, with a context of 1,024 ids."""
    pair = load_pair("home")
    tokenizer = ChatTokenizer(pair)
    return Oracle(pair.target, tokenizer.vocab_size, sorted(tokenizer.end_ids), 1024)
