"""A report as one HTML page that needs nothing else: no server, no network, no other file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import django
from django.template import Context, Engine
from django.utils import timezone
from django.utils.safestring import mark_safe
from django.utils.translation import override

import redis_optimizer
from redis_optimizer.management.benchmark.subjects import Charted, Subject
from redis_optimizer.management.benchmark.whole.report import Whole

__all__ = ["write_document"]

PACKAGE = Path(redis_optimizer.__file__).parent
LIBRARY = PACKAGE / "static/redis_optimizer/vendor/uplot"
TEMPLATE = "redis_optimizer/benchmark.html"


def write_document(path: Path, title: str, subject: Subject, report: Any) -> None:
    """Write the page.

    Args:
        path: of the file; what is there is replaced.
        title: of the subject.
        subject: that was measured.
        report: what came of it.

    Raises:
        OSError: the file cannot be written.
    """
    if isinstance(report, Whole):
        rows, unmeasured, sections = report.rows, report.unmeasured(), report.sections()
    else:
        rows, unmeasured, sections = [], [], {title.capitalize(): subject.render(report)}
    drawn = report.charts() if isinstance(report, Charted) else []
    charts = [each.as_dict() for each in drawn if len(each.places) > 1]  # one point is no line
    context = {
        "rows": [_draw(row) for row in rows],
        "unmeasured": unmeasured,
        "sections": sections,
        "charts": charts,
        "library": mark_safe((LIBRARY / "uPlot.iife.min.js").read_text()),  # noqa: S308  # ours
        "style": mark_safe((LIBRARY / "uPlot.min.css").read_text()),  # noqa: S308
        "version": redis_optimizer.__version__,
        "django": django.get_version(),
        "now": timezone.now(),
        "data": json.dumps(report.as_dict(), indent=2),
    }
    # An engine of its own: a project may have no template backend that finds it.
    engine = Engine(dirs=[str(PACKAGE / "templates")])
    with override("en"):  # as its texts are, whatever the site's numbers look like
        page = engine.get_template(TEMPLATE).render(Context(context))
    path.write_text(page, encoding="utf-8")


def _draw(row: Any) -> dict[str, Any]:
    """Return a row with the length of its bars, in percent of the longer one, as CSS has it."""
    longest = max(row.plain, row.ours) or 1
    return {
        "row": row,
        "plain": f"{100 * row.plain / longest:.2f}",
        "ours": f"{100 * row.ours / longest:.2f}",
    }
