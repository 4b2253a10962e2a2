"""Encrypted connections to the broker: whom they trust, and with which certificate they introduce themselves."""

from __future__ import annotations

import ssl

from shared.errors import SettingsError
from shared.settings import BrokerSettings
from shared.text_file import read_text


def tls_context(settings: BrokerSettings) -> ssl.SSLContext | None:
    """The context for connections by these settings; None where they are not encrypted. Raises SettingsError."""
    certificate, key = settings.tls_cert, settings.tls_key
    if settings.tls_ca is None:
        if certificate or key:
            raise SettingsError("a client certificate needs TLS: set broker.tls_ca to the broker's CA certificate")
        return None
    try:
        context = ssl.create_default_context(cadata=settings.ca_certificate())
    except OSError as error:
        raise SettingsError(f"cannot read the CA certificate {settings.tls_ca}: {error.strerror or error}") from None
    if certificate is None and key is None:
        return context
    if certificate is None or key is None:
        raise SettingsError("broker.tls_cert and broker.tls_key belong together: set both, or none")
    # What OpenSSL will read is read first: it would wait for a pipe.
    read_text(certificate, "the client certificate", SettingsError)
    read_text(key, "the client certificate's key", SettingsError, private=True)
    try:
        # Without a password for the key OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certificate, key, password=b"")
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"cannot use the client certificate {certificate} with the key {key}: "
            f"{getattr(error, 'strerror', None) or error}"
        ) from None
    return context
