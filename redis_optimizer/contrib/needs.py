"""Say what is missing where another library is not installed."""

from django.core.exceptions import ImproperlyConfigured

__all__ = ["missing"]


def missing(module: str, library: str, extra: str) -> ImproperlyConfigured:
    """Return the error to raise where a module of ours needs a library that is not there.

    Args:
        module: Ours.
        library: As it is named where packages are found.
        extra: Of ours, which brings it.
    """
    return ImproperlyConfigured(
        f'{module} needs {library}, which is not installed: pip install "redis-optimizer[{extra}]".'
    )
