"""Credentials to headers.

The rule (wiro-api facts, "Signing"): ``x-signature`` is the lower-case hex digest of
HMAC-SHA256 with the API key as key and the API secret followed by the nonce as message. The
nonce is a decimal integer, and every attempt has one of its own: it is handed in, because
what was used before is not this module's to know. A project without a secret sends its key
alone.
"""

from __future__ import annotations

import hashlib
import hmac

from attrs import Attribute, field, frozen

from wiro_async.errors import CredentialsError


def _check_header_text(_: object, attribute: Attribute[str], value: str | None) -> None:
    if value == "":
        raise CredentialsError(
            f"the {attribute.name.replace('_', ' ')} is empty; copy it from the dashboard"
        )
    # The value travels in a header, or takes part in one: blanks are what a careless copy adds.
    if value is not None and not (value.isascii() and value.isprintable() and " " not in value):
        raise CredentialsError(
            f"the {attribute.name.replace('_', ' ')} has blanks, line breaks or other characters "
            "that no key of the service has; copy it again from the dashboard"
        )


@frozen(kw_only=True)
class Credentials:
    """What signs a request. Neither part shows in a repr."""

    api_key: str = field(repr=False, validator=_check_header_text)
    api_secret: str | None = field(default=None, repr=False, validator=_check_header_text)


def sign_headers(credentials: Credentials, nonce: int) -> dict[str, str]:
    """The authentication headers of one attempt; key-only where there is no secret."""
    headers = {"x-api-key": credentials.api_key}
    if credentials.api_secret is not None:
        message = f"{credentials.api_secret}{nonce}".encode()
        digest = hmac.new(credentials.api_key.encode(), message, hashlib.sha256)
        headers |= {"x-nonce": str(nonce), "x-signature": digest.hexdigest()}
    return headers
