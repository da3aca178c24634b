"""What ran: one row for each run of a job, in a table that outlives every process."""

import os
import sqlite3
import time
from collections import Counter
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY, job TEXT, note TEXT, process INTEGER, at REAL
)
"""


def connect(path: str | Path | None = None) -> sqlite3.Connection:
    """Connect to the table; without a path to that which ``SITE_RUNS`` names."""
    connection = sqlite3.connect(path or os.environ["SITE_RUNS"], timeout=20, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=OFF")  # survives processes, not the machine
    return connection


def create(path: str | Path) -> None:
    """Make the table."""
    connection = connect(path)
    connection.execute(SCHEMA)
    connection.close()


def record(job: str, note: str = "") -> None:
    """Insert a run of a job."""
    connection = connect()
    try:
        connection.execute(
            "INSERT INTO runs (job, note, process, at) VALUES (?, ?, ?, ?)",
            (job, note, os.getpid(), time.time()),
        )
    finally:
        connection.close()


def record_many(jobs: list[tuple[str, str]]) -> None:
    """Insert runs of several jobs in one transaction."""
    connection = connect()
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO runs (job, note, process, at) VALUES (?, ?, ?, ?)",
            [(job, note, os.getpid(), time.time()) for job, note in jobs],
        )
        connection.execute("COMMIT")
    finally:
        connection.close()


def counts(path: str | Path) -> Counter[str]:
    """Return how often each job ran."""
    connection = connect(path)
    try:
        return Counter(dict(connection.execute("SELECT job, COUNT(*) FROM runs GROUP BY job")))
    finally:
        connection.close()


def rows(path: str | Path) -> list[tuple[str, str, int]]:
    """Return the job, note and process of each run, in order."""
    connection = connect(path)
    try:
        return list(connection.execute("SELECT job, note, process FROM runs ORDER BY number"))
    finally:
        connection.close()
