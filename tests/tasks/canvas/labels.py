"""Names for jobs that are the same in every run, by which their random ids are replaced."""

from collections import Counter
from typing import Any


def find_labels(lines: list[dict[str, Any]]) -> dict[str, str]:
    """Return the label of each id.

    The producer names what it sends. What jobs send is named after the sender, the task and how
    many jobs of that task it had sent before.
    """
    labels = {line["id"]: line["seen"]["label"] for line in lines if line["event"] == "label"}
    seen: Counter[str] = Counter()
    for line in lines:
        if line["id"] in labels or line["event"] == "note":
            continue
        sender = labels.get(line["by"]) or line["case"]
        task = line["seen"].get("headers", {}).get("task", "job").rpartition(".")[2]
        name = f"{sender}/{task}"
        seen[name] += 1
        labels[line["id"]] = f"{name}{seen[name]}"
    return labels
