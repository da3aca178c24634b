"""What was done, in the admin's log and in a message to whoever did it."""

from typing import Final

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from redis_optimizer.admin.done import Done
from redis_optimizer.models import Overview

__all__ = ["log", "summary"]

MAX_LINES: Final = 30
"""Lines that a message shows: it may be kept in a cookie. The log has all of them."""


def log(request: HttpRequest, done: Done) -> None:
    """Write an entry into the admin's log."""
    LogEntry.objects.create(
        user_id=request.user.pk,
        content_type=ContentType.objects.get_for_model(Overview),
        object_repr=done.title[:200],
        action_flag=CHANGE,
        change_message="\n".join([*done.lines, *done.warnings]),
    )


def summary(done: Done) -> SafeString:
    """Return what was done as HTML: what, and what each process reported."""
    if not done.lines:
        return format_html("{}.", done.title)
    shown = [(line,) for line in done.lines[:MAX_LINES]]
    if len(done.lines) > MAX_LINES:
        more = len(done.lines) - MAX_LINES
        shown.append((_("and %(count)s more, see the log") % {"count": more},))
    # Not a list: the admin shows each item of one among its messages as a message.
    return format_html("{}:{}", done.title, format_html_join("", "<br>{}", shown))
