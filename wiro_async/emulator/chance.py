"""Randomness without dice: everything that varies is derived from what it belongs to.

Two emulators with the same seed, asked the same things, behave the same to the last digit
of the last duration, whatever the machine, the order of the requests or the time of day. So
a test that fails fails again, and a benchmark's two sides meet the same service. The means
is a hash of the parts that name the thing (world seed, prompt, purpose).
"""

import hashlib
import math

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def fingerprint(*parts: object) -> bytes:
    """Hash the parts to 32 bytes; equal parts give equal bytes on every machine."""
    # A separator that no part may fake: every part is preceded by its length.
    text = "".join(f"{len(str(part))}:{part}" for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def share(*parts: object) -> float:
    """Give a number above 0 and below 1, evenly spread over different parts."""
    return (int.from_bytes(fingerprint(*parts)[:6]) + 0.5) / 2**48


def lognormal(median: float, sigma: float, *parts: object) -> float:
    """Give a lognormally spread positive number, in the unit of `median`."""
    # Box and Muller's transform: two even shares make one normal deviate.
    radius = math.sqrt(-2.0 * math.log(share("radius", *parts)))
    angle = 2.0 * math.pi * share("angle", *parts)
    return median * math.exp(sigma * radius * math.cos(angle))


def token(length: int, *parts: object) -> str:
    """Give a name of up to 32 letters and digits, as the service's access keys look."""
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in fingerprint(*parts)[:length])


def uuid(*parts: object) -> str:
    """Give a name in the form 8-4-4-4-12, as the service's uuids look."""
    digits = fingerprint(*parts).hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))
