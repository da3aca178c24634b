"""Sentry in the processes of the site."""

import contextlib

import sentry_sdk
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.transport import Transport

transactions = []


class Keep(Transport):
    """Keep what would be sent."""

    def capture_envelope(self, envelope):
        if event := envelope.get_transaction_event():
            transactions.append(event)


sentry_sdk.init(
    dsn="http://key@127.0.0.1:1/1",
    transport=Keep,
    traces_sample_rate=1.0,
    integrations=[CeleryIntegration()],
    auto_enabling_integrations=False,
)


@contextlib.contextmanager
def span():
    """Open a transaction and yield its trace."""
    with sentry_sdk.start_transaction(name="caller") as transaction:
        yield transaction.trace_id


def here():
    """Return the caller's span."""
    return sentry_sdk.get_current_span().span_id


def current():
    """Return the trace of a job and the span that sent it."""
    transaction = sentry_sdk.get_current_span().containing_transaction
    return transaction.trace_id, transaction.parent_span_id


def sent():
    """Return the spans that sent jobs."""
    spans = [span for event in transactions for span in event["spans"]]
    return [span["span_id"] for span in spans if span["op"] == "queue.submit.celery"]
