"""The endpoints: is the process alive, is it ready, is the site healthy.

They are ordinary functions. Under ASGI Django runs one in a thread, which makes a call a fifth
dearer than a coroutine would be; a coroutine under WSGI, for which Django makes an event loop for
each request, would be eight times as dear.
"""

import logging
import time
from typing import Final

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.utils.log import log_response
from django.views.decorators.http import require_safe

from redis_optimizer.decorators.transactions import never_atomic
from redis_optimizer.health import Status, get_verdict, refresh_verdict
from redis_optimizer.health.audience import Audience, audience, is_known
from redis_optimizer.health.lifetimes import Part
from redis_optimizer.health.responses import broken, respond
from redis_optimizer.middleware.live import answer
from redis_optimizer.stats.costs import current

__all__ = ["health", "live", "ready"]

logger: Final = logging.getLogger(__name__)


@never_atomic
@login_not_required
def live(request: HttpRequest) -> HttpResponse:
    """Say that this process answers, and touch nothing.

    The middleware does so before a request comes here; this is for a site without it.
    """
    return answer(request)


@never_atomic
@login_not_required
@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """Say whether this process should get requests: whether what it cannot do without is there.

    Balancers ask this; everybody is told one word, and nobody has to be recognised.
    """
    return _tell(request, "ready")


@never_atomic
@login_not_required
@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """Say how the site is: in one word to everybody, with every check to staff.

    Staff may add ``?refresh=1``, which runs the checks now.
    """
    return _tell(request, "health")


def _tell(request: HttpRequest, part: Part) -> HttpResponse:
    began = time.perf_counter()
    try:
        who = _audience(request) if part == "health" else Audience.PUBLIC
        if who is Audience.STAFF and request.GET.get("refresh") == "1":
            verdict = refresh_verdict(part, audience=who)
        else:
            verdict = get_verdict(part, audience=who)
        if not verdict.is_cached and (costs := current()):
            costs.add_checks(len(verdict.report.results), verdict.report.seconds)
        response = respond(request, verdict, who)
    except Exception:
        # Whoever asks is to hear that something is wrong, and not what.
        logger.exception("%s/ could not be answered.", part)
        response = broken()
    response["X-Response-Time"] = f"{(time.perf_counter() - began) * 1000:.1f}"
    if response.status_code == 503:
        # Before Django does so as an error, which sends a mail to ADMINS: for each poll.
        log_response("%s", request.path, response=response, request=request, level="info")
    return response


def _audience(request: HttpRequest) -> Audience:
    # Where sessions are may be what does not answer, and a look there has no deadline.
    if not is_known(request) and get_verdict("ready").report.status is Status.FAILING:
        return Audience.PUBLIC
    return audience(request)
