"""Help with examples that keep their lines."""

from argparse import RawDescriptionHelpFormatter
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandParser, DjangoHelpFormatter

__all__ = ["CommandWithExamples"]


class CommandWithExamples(BaseCommand):
    """A command whose help ends with `examples`."""

    examples: ClassVar[str]

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Return a parser that shows them."""
        kwargs |= {"epilog": self.examples, "formatter_class": _Formatter}
        return super().create_parser(prog_name, subcommand, **kwargs)


class _Formatter(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Django's; what comes after the options stays as it is written."""
