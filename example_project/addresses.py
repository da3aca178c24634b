"""Where on the server things are."""

from urllib.parse import urlsplit

DATABASES = 16  # of a server as it comes


def jobs_url(url: str) -> str:
    """Return the URL of the next database: what clears the cache leaves the jobs alone.

    Args:
        url: of the cache's database, such as redis://127.0.0.1:6379/0
    """
    parts = urlsplit(url)
    number = int(parts.path.strip("/") or 0)
    return parts._replace(path=f"/{(number + 1) % DATABASES}").geturl()
