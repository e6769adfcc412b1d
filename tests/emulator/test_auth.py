import pytest

from wiro_async.emulator.auth import Doorkeeper
from wiro_async.emulator.refusals import (
    KEY_UNKNOWN,
    SIGNATURE_MISSING,
    SIGNATURE_WRONG,
    Refusal,
)

# printf '%s' "$SECRET$NONCE" | openssl dgst -sha256 -hmac "$KEY"
VECTORS = [
    (
        "emulator-key",
        "emulator-secret",
        "1",
        "e49bed9c0dce2d92ca2728538fffe0a209c9ffc7d87fe00eae5862eabaebd303",
    ),
    (
        "emulator-key",
        "emulator-secret",
        "1734513807",
        "c30e1d13dc26b00ebc337e275e10738ee57dd6a49c01e1f6a5e50751729a6043",
    ),
    (
        "k",
        "s",
        "0",
        "40aa1452b7f7055f21b75ba3e99e5068ddb364547bee2f23dd19b83ba413aca5",
    ),
    (
        "schlüssel",
        "geheimnis ☃",
        "99999999999999999999",
        "7579a1c0299d7e73bf29d7885887009a9701ddf2a63eb87c5d8417b1cb2a41ac",
    ),
]
KEY, SECRET, NONCE, SIGNATURE = VECTORS[0]


@pytest.mark.parametrize(("key", "secret", "nonce", "signature"), VECTORS)
def test_signatures_made_by_openssl_pass(key: str, secret: str, nonce: str, signature: str) -> None:
    headers = {"x-api-key": key, "x-nonce": nonce, "x-signature": signature}
    assert Doorkeeper(key, secret).check(headers) is None
    # The service takes the same nonce again.
    assert Doorkeeper(key, secret).check(headers) is None


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"x-api-key": "other"}, KEY_UNKNOWN),
        ({"x-api-key": ""}, KEY_UNKNOWN),
        ({"x-api-key": "schl\udcffssel"}, KEY_UNKNOWN),
        ({"x-signature": ""}, SIGNATURE_MISSING),
        ({"x-nonce": ""}, SIGNATURE_MISSING),
        ({"x-nonce": "2"}, SIGNATURE_WRONG),
        ({"x-nonce": "1.0"}, SIGNATURE_WRONG),
        ({"x-nonce": "\u0661"}, SIGNATURE_WRONG),
        ({"x-signature": SIGNATURE.upper()}, SIGNATURE_WRONG),
        ({"x-signature": SIGNATURE[:-1]}, SIGNATURE_WRONG),
        # What the recipe on the model page would send if taken at its word.
        ({"x-signature": f"(stdin)= {SIGNATURE}"}, SIGNATURE_WRONG),
    ],
)
def test_everything_else_is_turned_away(changes: dict[str, str], refusal: Refusal) -> None:
    headers = {"x-api-key": KEY, "x-nonce": NONCE, "x-signature": SIGNATURE, **changes}
    assert Doorkeeper(KEY, SECRET).check(headers) is refusal
    assert refusal.http_status == 401


def test_a_project_without_secret_wants_the_key_alone() -> None:
    keeper = Doorkeeper(KEY, None)
    assert keeper.check({"x-api-key": KEY}) is None
    assert keeper.check({"x-api-key": KEY, "x-signature": "nonsense"}) is None
    assert keeper.check({}) is KEY_UNKNOWN


def test_no_secret_is_in_the_repr() -> None:
    assert SECRET not in repr(Doorkeeper(KEY, SECRET))
    assert KEY not in repr(Doorkeeper(KEY, SECRET))
