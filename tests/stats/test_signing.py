"""Processes of one site believe each other, and nobody else."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from redis_optimizer.stats.signing import SIGNATURE, Forged, sign, unsign

DATA = b'{"a": ":"}'


def test_what_is_signed_is_believed() -> None:
    signed = sign("question", DATA)
    assert unsign("question", signed) == DATA
    assert len(signed) == len(DATA) + SIGNATURE
    assert unsign("question", sign("question", b"")) == b""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b":",
        DATA,
        b"0" * 64 + b":" + DATA,
        b"\xff" * 64 + b":" + DATA,
        sign("answer", DATA),
        sign("question", DATA)[:-1],
        sign("question", DATA) + b" ",
        sign("question", DATA).upper(),
        b" " + sign("question", DATA),
    ],
)
def test_anything_else_is_not(data: bytes) -> None:
    with pytest.raises(Forged):
        unsign("question", data)


def test_a_site_with_another_key_or_namespace_is_another_site() -> None:
    signed = sign("question", DATA)
    with override_settings(SECRET_KEY="another"), pytest.raises(Forged):
        unsign("question", signed)
    with override_settings(REDIS_OPTIMIZER={"NAMESPACE": "other"}), pytest.raises(Forged):
        unsign("question", signed)


def test_a_key_can_be_replaced_process_by_process() -> None:
    old = sign("question", DATA)
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["only-for-tests"]):
        assert unsign("question", old) == DATA
        new = sign("question", DATA)
        assert new != old
    with override_settings(SECRET_KEY="new"):
        assert unsign("question", new) == DATA


def test_without_a_key_nothing_is_believed_and_nobody_can_sign() -> None:
    signed = sign("question", DATA)
    with override_settings(SECRET_KEY=""):
        with pytest.raises(Forged):
            unsign("question", signed)
        with pytest.raises(ImproperlyConfigured):
            sign("question", DATA)
