"""The network between the site and one server: a TCP proxy in a process of its own.

It is stopped (SIGSTOP) for a path on which nothing arrives, and killed for one that breaks.
"""

import asyncio
import contextlib
import sys

HOST = "127.0.0.1"
CHUNK = 1 << 16  # bytes


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand on what comes, until one end is gone."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.close()


async def serve(port: int, target: int) -> None:
    """Listen on a port, and lead each connection to another."""

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(HOST, target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, back), pump(there, writer))

    server = await asyncio.start_server(lead, HOST, port, reuse_address=True)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
