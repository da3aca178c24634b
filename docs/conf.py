"""Settings of Sphinx."""

import sys
from dataclasses import fields
from pathlib import Path
from pydoc import locate

import redis_optimizer

sys.path.insert(0, str(Path(__file__).parent))  # where its extension is

project = "redis_optimizer"
author = "Redis optimizer contributors"
copyright = f"2026, {author}"
release = version = redis_optimizer.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "system_checks"]
exclude_patterns = ["_build"]
default_role = "code"

html_theme = "furo"
html_title = f"redis_optimizer {release}"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"


OPTIONS = (".Options", ".Settings")  # classes that hold options
texts: dict[str, list[str]] = {}


def name_defaults(app, what, name, obj, options, lines):
    """Say each option's default below its text."""
    owner, _, option = name.rpartition(".")
    if what == "attribute" and owner.endswith(OPTIONS):
        defaults = {field.name: field.default for field in fields(locate(owner))}
        lines[:] = [*texts.pop(name), "", f"Default: ``{defaults[option]!r}``", ""]


def keep_text(app, what, name, obj, options, lines):
    """Keep a text from napoleon, which takes what stands before a colon for a type."""
    if what == "attribute":
        texts[name] = list(lines)


def hide_signature(app, what, name, obj, options, signature, returns):
    """Hide the signature of a class that holds options; its attributes say it all."""
    return ("", "") if name.endswith(OPTIONS) else None


def setup(app):
    app.connect("autodoc-process-docstring", keep_text, priority=400)  # napoleon has 500
    app.connect("autodoc-process-docstring", name_defaults, priority=600)
    app.connect("autodoc-process-signature", hide_signature)
