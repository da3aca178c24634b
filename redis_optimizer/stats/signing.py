"""Signatures by which the processes of a site know what comes from one of them.

Whoever may publish on the server can write a message; only who has the site's ``SECRET_KEY`` can
sign it.
"""

from typing import Final, Literal

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import constant_time_compare, salted_hmac

from redis_optimizer.conf import get_settings

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
    return _signature(kind, data, settings.SECRET_KEY) + b":" + data


def unsign(kind: Kind, data: bytes) -> bytes:
    """Return a message without its signature, by the SECRET_KEY or one of its fallbacks.

    Raises:
        Forged: there is none that holds.
    """
    signature, _, message = data.partition(b":")
    if len(signature) == SIGNATURE - 1:
        try:
            keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        except ImproperlyConfigured:  # nobody can have signed it for this site
            keys = []
        for key in keys:
            if constant_time_compare(signature, _signature(kind, message, key)):
                return message
    raise Forged("It is not signed with the SECRET_KEY of this site.")


def _signature(kind: Kind, data: bytes, secret: str | bytes) -> bytes:
    salt = f"redis_optimizer.stats.{kind}:{get_settings().NAMESPACE}"
    return salted_hmac(salt, data, secret, algorithm="sha256").hexdigest().encode()
