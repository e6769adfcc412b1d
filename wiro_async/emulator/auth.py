"""Who may come in: the check of the three headers that sign a request.

The signature is the lower-case hex of HMAC-SHA256(key = API key, message = API secret +
nonce). The nonce is any decimal integer; the service takes the same one again and again
(its own shell recipe sends one nonce with several requests), so this does too. A project
without a secret wants the key alone, and does not look at the other headers.
"""

import hashlib
import hmac
from collections.abc import Mapping

import attrs

from wiro_async.emulator.refusals import (
    KEY_UNKNOWN,
    SIGNATURE_MISSING,
    SIGNATURE_WRONG,
    Refusal,
)

CREDENTIAL_HEADERS = ("x-api-key", "x-nonce", "x-signature")


@attrs.frozen
class Doorkeeper:
    """Knows one project's credentials and checks requests against them."""

    api_key: str = attrs.field(repr=False)
    api_secret: str | None = attrs.field(repr=False)

    def check(self, headers: Mapping[str, str]) -> Refusal | None:
        """Give `None` for a request that may pass, else the HTTP 401 that it gets.

        Args:
            headers: header names looked up in lower case, so either a mapping that ignores
                case or one with lower-case names.
        """
        if not _same(headers.get("x-api-key", ""), self.api_key):
            return KEY_UNKNOWN
        if self.api_secret is None:
            return None
        nonce = headers.get("x-nonce", "")
        signature = headers.get("x-signature", "")
        if not nonce or not signature:
            return SIGNATURE_MISSING
        if not (nonce.isascii() and nonce.isdecimal()):
            return SIGNATURE_WRONG
        right = hmac.new(
            self.api_key.encode(), (self.api_secret + nonce).encode(), hashlib.sha256
        ).hexdigest()
        return None if _same(signature, right) else SIGNATURE_WRONG


def _same(left: str, right: str) -> bool:
    # Compared as bytes: compare_digest refuses text that is not ASCII, and headers can be.
    return hmac.compare_digest(
        left.encode("utf-8", "surrogateescape"), right.encode("utf-8", "surrogateescape")
    )
