"""The permissions of the admin page. No table is made."""

from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Let Django know the model, so that `migrate` creates its permissions."""

    initial = True
    dependencies: ClassVar[list[Any]] = []
    operations: ClassVar[list[Any]] = [
        migrations.CreateModel(
            name="Overview",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
            ],
            options={
                "verbose_name": "overview",
                "verbose_name_plural": "overview",
                "permissions": [
                    ("view_overview", "Can view the overview of Redis optimizer"),
                    ("clear_local", "Can clear what processes keep of the caches"),
                    ("clear_cache", "Can clear a cache in Redis"),
                    ("flush_batches", "Can send buffered jobs at once"),
                    ("prune_results", "Can prune results of jobs"),
                    ("switch_parts", "Can switch parts of Redis optimizer off and on"),
                ],
                "managed": False,
                "base_manager_name": "objects",
                "default_permissions": (),
            },
        ),
    ]
