"""Compiles a grammar in a process of its own: `python grammar_trial.py`, started by `guide.py`.

Some short patterns take minutes and more to compile, and nothing inside a process can end that. Here the kernel does. Standard input has one JSON
object: {"tokenizer", "vocab_size", "end_ids", "rules", "limits"}. Nothing on standard output, and the status 0, say that it compiles.
"""

from __future__ import annotations

import sys

sys.path.pop(0)  # the folder of this file, whose modules are called as they like

import json
import os
import resource

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

COMPUTING_S = 1  # seconds of computing, rounded up to the next full second of the process
MEMORY = 512 * 2**20  # bytes of data


def main() -> None:
    """Compile the grammar, and say what is wrong with it."""
    os.nice(19)
    asked = json.loads(sys.stdin.buffer.read())
    tokenizer = LLTokenizer(asked["tokenizer"], n_vocab=asked["vocab_size"], eos_token=asked["end_ids"])
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + COMPUTING_S + 1
    resource.setrlimit(resource.RLIMIT_CPU, (until, until))
    resource.setrlimit(resource.RLIMIT_DATA, (used.ru_maxrss * 1024 + MEMORY,) * 2)
    matcher = LLMatcher(tokenizer, asked["rules"], log_level=0, limits=LLParserLimits(**asked["limits"]))
    if not matcher.is_error():
        matcher.compute_bitmask()
    sys.stdout.write(str(matcher.get_error()))


if __name__ == "__main__":
    main()
