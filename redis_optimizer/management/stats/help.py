"""Help with examples that keep their lines."""

from argparse import RawDescriptionHelpFormatter

from django.core.management.base import DjangoHelpFormatter

__all__ = ["ExampleFormatter"]


class ExampleFormatter(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Django's help; what comes after the options stays as it is written."""
