"""The dashboard's models in Django's admin."""

from django.contrib import admin
from django.db.models import Count, Model, QuerySet
from django.http import HttpRequest

from redis_optimizer.tasks import batch

from .models import Digest, Integration, Organisation, UsageDay, UserSettings
from .tasks import sync_integration


@admin.register(Organisation)
class OrganisationAdmin(admin.ModelAdmin):
    """Organisations with the number of their integrations."""

    list_display = ("name", "integration_count")
    search_fields = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Organisation]:
        """Count the integrations in the same query."""
        return super().get_queryset(request).annotate(integration_count=Count("integrations"))

    @admin.display(description="integrations", ordering="integration_count")
    def integration_count(self, organisation: Organisation) -> int:
        """Return how many integrations the organisation has."""
        return organisation.integration_count


@admin.register(Integration)
class IntegrationAdmin(admin.ModelAdmin):
    """Integrations; one never moves to another organisation, so one cache key follows a change."""

    actions = ("sync_now",)
    list_display = ("organisation", "provider", "state", "last_sync")
    list_display_links = ("organisation", "provider")
    list_filter = ("state", "provider")
    list_select_related = ("organisation",)
    search_fields = ("organisation__name",)

    def get_readonly_fields(
        self, request: HttpRequest, obj: Integration | None = None
    ) -> tuple[str, ...]:
        """Fix the organisation once the integration exists."""
        return () if obj is None else ("organisation",)

    @admin.action(description="Sync selected integrations now", permissions=["change"])
    def sync_now(self, request: HttpRequest, queryset: QuerySet[Integration]) -> None:
        """Send a job for each integration; all of them leave in one command."""
        with batch():
            for pk in queryset.values_list("pk", flat=True):
                sync_integration.delay(pk)
        self.message_user(request, f"{len(queryset)} integrations will be synced in a moment.")


class ReadOnlyAdmin(admin.ModelAdmin):
    """What jobs write is looked at, not changed."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False."""
        return False


@admin.register(UsageDay)
class UsageDayAdmin(ReadOnlyAdmin):
    """Page views that the jobs have counted."""

    list_display = ("day", "organisation", "views")
    list_select_related = ("organisation",)
    date_hierarchy = "day"


@admin.register(Digest)
class DigestAdmin(ReadOnlyAdmin):
    """What users were told."""

    list_display = ("day", "user")
    list_select_related = ("user",)
    date_hierarchy = "day"


@admin.register(UserSettings)
class UserSettingsAdmin(admin.ModelAdmin):
    """Settings; they never move to another user."""

    list_display = ("user", "theme", "timezone", "failing_first")
    list_filter = ("theme", "timezone")
    list_select_related = ("user",)
    search_fields = ("user__username",)

    def get_readonly_fields(
        self, request: HttpRequest, obj: UserSettings | None = None
    ) -> tuple[str, ...]:
        """Fix the user once the settings exist."""
        return () if obj is None else ("user",)
