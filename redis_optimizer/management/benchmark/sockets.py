"""Which process holds a connection of this machine, as Linux tells it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

TABLES = ("/proc/net/tcp", "/proc/net/tcp6")


def process_of(address: str, server: str) -> int | None:
    """Return the id of the process at this end of a TCP connection.

    Args:
        address: host and port of the process's end, as CLIENT LIST writes them.
        server: those of the other end: a port may be in use for two servers at once.

    Returns:
        None where Linux's /proc is missing, or when the process is another user's or has gone.
    """
    ports = [each.rpartition(":")[2] for each in (address, server)]
    inode = _inode(*map(int, ports)) if all(map(str.isdigit, ports)) else None
    if inode is None:
        return None
    wanted = f"socket:[{inode}]"
    for directory in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):  # it has just ended, or is another user's
            for descriptor in directory.iterdir():
                with suppress(OSError):
                    if str(descriptor.readlink()) == wanted:
                        return int(directory.parent.name)
    return None


def _inode(port: int, server: int) -> str | None:
    """Return the inode of the socket that is bound to a port and connected to a server's."""
    local, remote = f":{port:04X}", f":{server:04X}"
    for table in TABLES:
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                # A closed connection stays listed for a minute, with the inode 0.
                ends = fields[1].endswith(local) and fields[2].endswith(remote)
                if ends and fields[9] != "0":
                    return fields[9]
    return None
