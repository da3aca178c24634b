"""OpenTelemetry in the processes of the site."""

import contextlib

from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
CeleryInstrumentor().instrument()


@contextlib.contextmanager
def span():
    """Open a span and yield its trace."""
    with trace.get_tracer("site").start_as_current_span("caller") as caller:
        yield f"{caller.get_span_context().trace_id:032x}"


def here():
    """Return the caller's span."""
    return trace.get_current_span().get_span_context().span_id


def current():
    """Return the trace of a job and the span that sent it."""
    span = trace.get_current_span()
    return f"{span.get_span_context().trace_id:032x}", f"{span.parent.span_id:016x}"


def sent():
    """Return the spans that sent jobs."""
    spans = [span for span in exporter.get_finished_spans() if span.kind is trace.SpanKind.PRODUCER]
    return [f"{span.get_span_context().span_id:016x}" for span in spans]
