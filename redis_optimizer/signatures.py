"""Signatures by which the processes of a site know what comes from one of them.

Whoever can write to the server can write anything; only who has the site's ``SECRET_KEY`` can sign
it.
"""

from collections.abc import Iterator

from django.conf import settings
from django.utils.crypto import salted_hmac

__all__ = ["signatures"]


def signatures(salt: str, data: bytes) -> Iterator[bytes]:
    """Yield each signature of ``data`` that holds: first that by the SECRET_KEY, to sign with.

    Args:
        salt: What it is about: a signature for one thing is none for another.
        data: What is signed.

    Returns:
        HMAC-SHA256, by the SECRET_KEY and then by each of SECRET_KEY_FALLBACKS. Compare them by
        `django.utils.crypto.constant_time_compare`.

    Raises:
        ImproperlyConfigured: the site has no SECRET_KEY.
    """
    yield _signature(salt, data, settings.SECRET_KEY)
    for secret in settings.SECRET_KEY_FALLBACKS:
        yield _signature(salt, data, secret)


def _signature(salt: str, data: bytes, secret: str | bytes) -> bytes:
    return salted_hmac(salt, data, secret, algorithm="sha256").digest()
