"""Signatures against openssl, and credentials that cannot be meant."""

from __future__ import annotations

import json

import pytest

from wiro_async.errors import CredentialsError
from wiro_async.protocol.signing import Credentials, sign_attempt

# Each digest comes from: printf '%s' "$SECRET$NONCE" | openssl dgst -sha256 -hmac "$KEY"
VECTORS = [
    (
        "abc123",
        "s3cret",
        1734513807,
        "56c57d9d34ca782a3255fb6dcc931923369c729f259a184e7b5e6468f7559736",
    ),
    (
        "wiro-key",
        "wiro-secret",
        0,
        "c2d226dc979f109b97843f0e68f097e3db4da1dbb4a3129acabc7d10708ac656",
    ),
    (
        "k",
        "s",
        9007199254740993,
        "804958cb5e52d8324dcb5cc43790dc8f1c45eefffd3297cbadbe1edc2c667e43",
    ),
    (
        "K" * 70,
        "long-key-is-hashed-first",
        42,
        "4de8d6507a9f2f1d48e6a363a256bcad04a60c3a3329bbd9515870375287167b",
    ),
    (
        "a+b/c==",
        '$pecial!#%&"',
        1734513807000001,
        "ae8859ba16b0473dc57a9164c8712cc1bf71d6ccfdf3c5e46ddfa77387e273d3",
    ),
]


@pytest.mark.parametrize(("key", "secret", "nonce", "digest"), VECTORS)
def test_signature_is_what_openssl_computes(key: str, secret: str, nonce: int, digest: str) -> None:
    signature = sign_attempt(Credentials(api_key=key, api_secret=secret), nonce)
    assert signature.headers() == {"x-api-key": key, "x-nonce": str(nonce), "x-signature": digest}


def test_without_a_secret_the_key_goes_alone() -> None:
    assert sign_attempt(Credentials(api_key="abc123"), 7).headers() == {"x-api-key": "abc123"}


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", " hunter2", "hunter2 ", "hun ter2", "hunter2\n", "hunter2\r\nx-evil: 1"),
        *("hunter2\x00", "hunter2\t", "huntér2", "hunter2\xa0"),
    ],
)
@pytest.mark.parametrize("part", ["api_key", "api_secret"])
def test_a_text_that_is_no_key_is_refused_without_being_shown(part: str, text: str) -> None:
    given = {"api_key": "good-key", "api_secret": "good-secret", part: text}
    with pytest.raises(CredentialsError) as caught:
        Credentials(**given)
    assert part.replace("_", " ") in str(caught.value)
    assert "dashboard" in str(caught.value)
    assert "hunt" not in repr(caught.value)


def test_credentials_do_not_show_in_a_repr() -> None:
    shown = repr(Credentials(api_key="visible-key", api_secret="visible-secret"))
    assert "visible" not in shown


@pytest.mark.parametrize("text", ["long-enough-key", 'odd"\\/<>&key', "x" * 8])
@pytest.mark.parametrize("part", ["api_key", "api_secret"])
def test_what_the_service_repeats_of_them_is_blotted_out(part: str, text: str) -> None:
    given = {"api_key": "another-key", part: text}
    said = f"{text} is no key, {json.dumps(text)} neither; keep the rest".encode()
    blotted = Credentials(**given).blot(said)
    assert blotted == b'*** is no key, "***" neither; keep the rest'


def test_a_key_as_short_as_a_word_leaves_the_answer_whole() -> None:
    record = b'{"id":"2221","status":"task_start"}'
    assert Credentials(api_key="task", api_secret="2221").blot(record) == record


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (b'{"message":"visible-key is no key"}', b'{"message":"*** is no key"}'),
        (b'visible/s"cret, visible/s"cret', b"***, ***"),
        (b'visible/s\\"cret', b"***"),
        (b'visible\\/s\\"cret', b"***"),
        (b"visible-ke y, visible", b"visible-ke y, visible"),
    ],
)
def test_each_way_to_write_them_is_blotted_out(said: bytes, left: bytes) -> None:
    assert Credentials(api_key="visible-key", api_secret='visible/s"cret').blot(said) == left
