"""The bounds of what the protocol's messages hold."""

from __future__ import annotations

MAX_DRAFT = 64  # drafted tokens of one round
MAX_APPEND = 131_072  # ids of one prompt
ID_BYTES = 5  # of a token id at most
REST_BYTES = 1024  # of all that is no token id, at most: the longest is a fault's sentence
MAX_PIECE = 65_536  # bytes of a file that one message brings
MAX_GRAMMAR = 262_144  # bytes of a grammar's text
MAX_PACKED_GRAMMAR = (
    30_720  # bytes of a grammar as it travels: with the longest prompt it fits what brokers let through
)
MAX_FRAME = ID_BYTES * (MAX_APPEND + MAX_DRAFT) + REST_BYTES + MAX_PACKED_GRAMMAR  # bytes of one frame
