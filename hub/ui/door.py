"""Who may ask: who has given the password, and is known by a cookie since."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

_LASTS_S = 12 * 3600.0  # seconds after which a login is forgotten
_MOST_LOGINS = 64
_MOST_WRONG, _WRONG_S = 5, 60.0  # wrong passwords of an address in so many seconds
_MOST_ADDRESSES = 4_096


class TooManyTries(Exception):
    """An address has given so many wrong passwords that none of its is looked at for a while."""


class Door:
    """To be used on one thread."""

    def __init__(self, password: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        """Without a password nobody comes in."""
        self._password, self._clock = password, clock
        self._logins: OrderedDict[bytes, float] = OrderedDict()  # until when, by the cookie's hash
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how many, and since when

    @property
    def is_there(self) -> bool:
        """Whether anybody can come in."""
        return self._password is not None

    def log_in(self, password: str, address: str) -> str | None:
        """The cookie of a new login; None for a wrong password. Raises TooManyTries."""
        now, who = self._clock(), _network(address)
        count, since = self._wrong.get(who, (0, now))
        if now > since + _WRONG_S:
            count, since = 0, now
        if count >= _MOST_WRONG:
            raise TooManyTries
        if self._password is None or not secrets.compare_digest(password.encode(), self._password.encode()):
            self._wrong[who] = count + 1, since
            self._wrong.move_to_end(who)
            if len(self._wrong) > _MOST_ADDRESSES:
                self._wrong.popitem(last=False)
            return None
        cookie = secrets.token_urlsafe(32)
        self._logins[_hash(cookie)] = now + _LASTS_S
        if len(self._logins) > _MOST_LOGINS:
            self._logins.popitem(last=False)
        return cookie

    def log_out(self, cookie: str) -> None:
        """Forget a login."""
        self._logins.pop(_hash(cookie), None)

    def is_in(self, cookie: str) -> bool:
        """Whether that is the cookie of a login that lasts."""
        return self._clock() < self._logins.get(_hash(cookie), 0.0)


def _hash(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode(errors="surrogatepass")).digest()


def _network(address: str) -> str:
    """An address, or of IPv6 what belongs to one customer: such a one has addresses without end."""
    try:
        given = ipaddress.ip_address(address)
    except ValueError:
        return address
    return address if given.version == 4 else str(ipaddress.ip_network((given, 64), strict=False))
