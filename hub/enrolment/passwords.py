"""Passwords, and the lines by which mosquitto checks them."""

from __future__ import annotations

import base64
import hashlib
import secrets

_ROUNDS = 101  # what mosquitto_passwd takes; a random password of 192 bits needs no slow hash
_SALT = 12  # bytes, as mosquitto_passwd takes


def new_password() -> str:
    """48 random hex digits."""
    return secrets.token_hex(24)


def password_line(user: str, password: str) -> str:
    """A line of mosquitto's password file in its form "$7$": PBKDF2 with HMAC-SHA512."""
    salt = secrets.token_bytes(_SALT)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ROUNDS)
    return f"{user}:$7${_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def with_line(text: str, user: str, line: str | None) -> str:
    """A password file's text in which `user` has this line, or none; the lines of other users stay as they are."""
    kept = [each for each in text.splitlines() if each.partition(":")[0] != user]
    return "".join(f"{each}\n" for each in (*kept, *([] if line is None else [line])))
