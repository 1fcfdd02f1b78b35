"""Seeds derived from seeds."""

import hashlib


def derived_seed(*keys: int | str) -> int:
    """A 63-bit seed that depends on every key, the same on every machine."""
    digest = hashlib.blake2b(repr(keys).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
