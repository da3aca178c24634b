"""The directive that lists the system checks."""

from docutils import nodes
from docutils.parsers.rst import Directive
from found_checks import find_checks


class SystemChecks(Directive):
    """``.. system-checks::`` lists each with its message and its hint."""

    def run(self) -> list[nodes.Node]:
        """Return a definition list, whose terms can be linked to."""
        entries = nodes.definition_list()
        for check in find_checks():
            term = nodes.term("", "", nodes.literal(text=check.id))
            target = nodes.target("", "", ids=[nodes.make_id(check.id)])
            term.insert(0, target)
            # What they show is code: its quotes are to stay as they are.
            body = nodes.definition(
                "",
                nodes.paragraph(text=check.message, support_smartquotes=False),
                nodes.paragraph(text=check.hint, support_smartquotes=False),
            )
            entries += nodes.definition_list_item("", term, body)
        return [entries]


def setup(app):
    """Make the directive known to Sphinx."""
    app.add_directive("system-checks", SystemChecks)
    return {"parallel_read_safe": True}
