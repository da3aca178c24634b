"""Signed messages: by them the processes of a site know what another one said."""

from collections.abc import Iterator
from typing import Final, Literal

from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import constant_time_compare

from redis_optimizer.conf import get_settings
from redis_optimizer.signatures import signatures

__all__ = ["SIGNATURE", "Forged", "sign", "unsign"]

Kind = Literal["question", "answer", "switches"]

SIGNATURE: Final = 65
"""Bytes that a signature adds: HMAC-SHA256 in hexadecimal, and a colon."""


class Forged(ValueError):
    """It has no signature of this site."""


def sign(kind: Kind, data: bytes) -> bytes:
    """Return a message with its signature before it.

    Args:
        kind: Of the message: a signed answer is no signed question.
        data: The message.

    Raises:
        ImproperlyConfigured: the site has no SECRET_KEY.
    """
    return next(_signatures(kind, data)) + b":" + data


def unsign(kind: Kind, data: bytes) -> bytes:
    """Return a message without its signature, by the SECRET_KEY or one of its fallbacks.

    Raises:
        Forged: there is none that holds.
    """
    signature, _, message = data.partition(b":")
    if len(signature) == SIGNATURE - 1:
        try:
            for valid in _signatures(kind, message):
                if constant_time_compare(signature, valid):
                    return message
        except ImproperlyConfigured:  # nobody can have signed it for this site
            pass
    raise Forged("It is not signed with the SECRET_KEY of this site.")


def _signatures(kind: Kind, data: bytes) -> Iterator[bytes]:
    salt = f"redis_optimizer.stats.{kind}:{get_settings().NAMESPACE}"
    return (signature.hex().encode() for signature in signatures(salt, data))
