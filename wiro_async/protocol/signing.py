"""Credentials to the headers that sign one attempt.

The rule (wiro-api facts, "Signing"): ``x-signature`` is the lower-case hex digest of
HMAC-SHA256 with the API key as key and the API secret followed by the nonce as message. The
nonce is a decimal integer, and every attempt has one of its own: it is handed in, because
what was used before is not this module's to know. A project without a secret sends its key
alone.

Whoever reports errors tends to show the variables of every frame that an exception went
through, and looks into mappings and sequences there. So what is secret travels in values that
show nothing, is taken out of them only where it is handed on, and stands in no variable where
an error is raised. Neither can be pickled: a pickle is a file or a message to someone.
"""

from __future__ import annotations

import hmac
import json
from typing import NoReturn

from attrs import Factory, field, frozen

from wiro_async.errors import CredentialsError

_SHORTEST_SECRET = 8


def _forms_of(credentials: Credentials) -> frozenset[bytes]:
    """What an answer is searched for: the key and the secret, as they are and as JSON has them."""
    forms: set[bytes] = set()
    for text in (credentials.api_key, credentials.api_secret or ""):
        if len(text) >= _SHORTEST_SECRET:
            written = json.dumps(text)[1:-1]
            forms |= {form.encode() for form in (text, written, written.replace("/", "\\/"))}
    return frozenset(forms)


@frozen(kw_only=True, init=False)
class Credentials:
    """What signs a request. Neither part shows in a repr, and no pickle takes them."""

    api_key: str = field(repr=False)
    api_secret: str | None = field(default=None, repr=False)
    _forms: frozenset[bytes] = field(
        init=False, repr=False, eq=False, default=Factory(_forms_of, takes_self=True)
    )

    def __init__(self, *, api_key: str, api_secret: str | None = None) -> None:
        problem = _find_problem("api key", api_key)
        if problem is None and api_secret is not None:
            problem = _find_problem("api secret", api_secret)
        if problem is None:
            self.__attrs_init__(api_key=api_key, api_secret=api_secret)
        del api_key, api_secret  # this frame is shown with the error
        if problem is not None:
            raise CredentialsError(problem)

    def blot(self, answer: bytes) -> bytes:
        """What the service said, without the key and the secret, should it repeat them.

        As they are, and as they stand in JSON. One so short that it can be a part of any word is
        left: no key of the service is, and a record must stay what it is.
        """
        for form in self._forms:
            answer = answer.replace(form, b"***")
        return answer

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "credentials are not pickled or copied: make them anew where they are needed, from "
            "the environment there"
        )


@frozen(kw_only=True)
class Signature:
    """The authentication of one attempt; it shows nothing, and gives its headers when asked."""

    _credentials: Credentials = field(repr=False)
    _nonce: int = field(repr=False)

    def headers(self) -> dict[str, str]:
        """The headers to send, for the very expression that sends them: keep them nowhere."""
        key, secret = self._credentials.api_key, self._credentials.api_secret
        if secret is None:
            return {"x-api-key": key}
        return {
            "x-api-key": key,
            "x-nonce": str(self._nonce),
            # Not `hmac.digest`: for so short a message it is slower, and lets other threads in.
            "x-signature": hmac.new(
                key.encode(), f"{secret}{self._nonce}".encode(), "sha256"
            ).hexdigest(),
        }


def sign_attempt(credentials: Credentials, nonce: int) -> Signature:
    """What authenticates one attempt; key-only where there is no secret."""
    return Signature(credentials=credentials, nonce=nonce)


def _find_problem(name: str, value: object) -> str | None:
    """What is wrong with a text that is to be a key, without showing it; None if nothing is."""
    if value == "":
        return f"the {name} is empty; copy it from the dashboard"
    # The value travels in a header, or takes part in one: blanks are what a careless copy adds.
    if isinstance(value, str) and value.isascii() and value.isprintable() and " " not in value:
        return None
    return (
        f"the {name} has blanks, line breaks or other characters that no key of the service has; "
        "copy it again from the dashboard"
    )
