"""The model that carries permissions: no table, and no command of Django that misses it."""

import io
import json
from typing import Any

import pytest
from django.core.management import call_command

from redis_optimizer.models import Overview

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("options", [{}, {"use_base_manager": True}])
def test_dumpdata_finds_nothing_of_it(options: dict[str, Any]) -> None:
    out = io.StringIO()
    call_command("dumpdata", stdout=out, **options)
    models = {each["model"] for each in json.loads(out.getvalue())}
    assert "auth.permission" in models
    assert "redis_optimizer.overview" not in models


def test_it_is_asked_for_without_a_query(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert list(Overview.objects.all()) == []


def test_its_migration_is_up_to_date() -> None:
    call_command("makemigrations", "redis_optimizer", check=True, dry_run=True)
