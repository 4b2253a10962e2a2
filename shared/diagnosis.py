"""Why a connection to the broker failed, in a sentence that says what to do."""

from __future__ import annotations

import errno
import re
import socket
import ssl

from shared.errors import SettingsError
from shared.settings import BrokerSettings
from shared.tls import tls_context

_PROBE_S = 2.0  # seconds for each step of a look at the port
_CONNECT = bytes.fromhex("100d00044d5154540502000a000000")  # MQTT 5 CONNECT without a name
_CONNACK = 0x20
_NOT_YET, _EXPIRED, _OTHER_HOST, _OTHER_ADDRESS = 9, 10, 62, 64  # OpenSSL's verify codes
_ALERTS = {
    "CERTIFICATE_REQUIRED": (
        "the broker at {where} wants a client certificate: set broker.tls_cert and broker.tls_key, "
        "or take the broker's port for passwords"
    ),
    "HANDSHAKE_FAILURE": (
        "the broker at {where} and this side agree on no TLS: it may want a client certificate (broker.tls_cert and "
        "broker.tls_key), or another version"
    ),
    "CERTIFICATE_REVOKED": "the broker at {where} says that the client certificate {cert} is revoked: have a new one made",
    "CERTIFICATE_EXPIRED": "the broker at {where} says that the client certificate {cert} has expired: have a new one made",
    "UNKNOWN_CA": "the broker at {where} does not know the authority that signed the client certificate {cert}",
}


def diagnosis(settings: BrokerSettings, error: OSError | None) -> str:
    """Why no MQTT connection came about: `error` is what connecting raised, None when the broker just closed it or was silent.

    It looks at the port by connections of its own, which takes a few seconds at most.
    """
    where = f"{settings.host}:{settings.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _of_certificate(settings, where, error)
    if settings.tls_ca is None:
        if error is None and _speaks_tls(settings):
            return (
                f"{where} speaks TLS, and this side does not: set broker.tls_ca (--broker-tls-ca) to the broker's CA "
                "certificate, or take a bundle (sled-node join, sled-hub join)"
            )
    elif not isinstance(error, (socket.gaierror, ConnectionRefusedError, TimeoutError)):
        alert = _alert(error) or _alert(_error_behind_handshake(settings))
        if alert is not None:
            return _ALERTS[alert].format(where=where, cert=settings.tls_cert)
        if _speaks_plain_mqtt(settings):
            return (
                f"{where} speaks MQTT without TLS, and broker.tls_ca asks for TLS: take the broker's port for TLS "
                "(mostly 8883), or leave broker.tls_ca out where the network is trusted"
            )
    if error is not None:
        return f"no MQTT broker answers at {where} ({error}); start one there or set broker host and port"
    return f"{where} accepts connections but does not answer as an MQTT 5 broker"


def lost_because(where: str, error: Exception | None) -> str:
    """Why there is no connection, by what the last attempt to connect came to."""
    match error:
        case None:
            return f"the connection to the broker at {where} is lost"
        case ConnectionRefusedError():
            return f"no broker listens at {where} at present; it may be starting again"
        case TimeoutError():
            return f"nothing answers at {where}: the broker's machine is off, or the network on the way to it is"
        case socket.gaierror() | OSError(errno=errno.ENETUNREACH | errno.EHOSTUNREACH | errno.ENETDOWN):
            return f"this device finds no way to {where} ({error}): its own network is down, or the broker's machine is off"
    return f"the connection to the broker at {where} is lost ({error})"


def remedy(settings: BrokerSettings, username: str, refusal: str) -> str:
    """What to do about a broker that refuses `username`; `refusal` is MQTT 5's name for the reason."""
    if refusal == "Unsupported protocol version":
        return "it does not speak MQTT 5, which SLED needs: update it (mosquitto has MQTT 5 since 1.6), or take another"
    if username:
        shown = f"check the user name and the password file ({username!r}, {settings.password_file})"
        return f"{shown}, or have a new credential made (sled-hub rotate {username})"
    return "it wants a user name and a password: set broker.username and broker.password_file, or take a bundle"


def _of_certificate(settings: BrokerSettings, where: str, error: ssl.SSLCertVerificationError) -> str:
    said = {
        _NOT_YET: "is not valid yet: look at this device's clock, or have the broker's certificate made anew",
        _EXPIRED: "has expired: look at this device's clock, or have the broker's certificate made anew",
        _OTHER_HOST: f"does not name {settings.host!r}: set broker.host to a name that it has, or have it name this one",
        _OTHER_ADDRESS: f"does not name {settings.host!r}: set broker.host to a name that it has, or have it name this one",
    }.get(error.verify_code)
    if said is None:
        said = f"is not signed by {settings.tls_ca}: set broker.tls_ca to the CA certificate of this very broker"
    return f"the certificate of the broker at {where} {said} ({error.verify_message.rstrip('.')})"


def _alert(error: OSError | None) -> str | None:
    """The alert by which the broker ended a handshake, if it is one that something can be said about."""
    reason = re.sub(r"^.*ALERT_", "", (error.reason or "") if isinstance(error, ssl.SSLError) else "")
    return reason if reason in _ALERTS else None


def _error_behind_handshake(settings: BrokerSettings) -> OSError | None:
    """What comes instead of data: with TLS 1.3 a broker looks at a client's certificate when the handshake is over for the client."""
    try:
        context = tls_context(settings)
        assert context is not None
        with (
            socket.create_connection((settings.host, settings.port), _PROBE_S) as plain,
            context.wrap_socket(plain, server_hostname=settings.host) as encrypted,
        ):
            encrypted.recv(1)
    except (OSError, SettingsError) as error:
        return error if isinstance(error, OSError) else None
    return None


def _speaks_tls(settings: BrokerSettings) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is told to whoever answers
    try:
        with (
            socket.create_connection((settings.host, settings.port), _PROBE_S) as plain,
            context.wrap_socket(plain, server_hostname=settings.host),
        ):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")  # such as one that asks for a client certificate
    except OSError:
        return False


def _speaks_plain_mqtt(settings: BrokerSettings) -> bool:
    try:
        with socket.create_connection((settings.host, settings.port), _PROBE_S) as plain:
            plain.sendall(_CONNECT)
            return plain.recv(1) == bytes([_CONNACK])
    except OSError:
        return False
