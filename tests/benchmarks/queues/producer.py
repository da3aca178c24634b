"""The process that sends jobs: `python -m tests.benchmarks.queues.producer`."""

import time

from tests.benchmarks.peers.answers import answer


def main() -> None:
    """Send what stdin says."""
    from tests.benchmarks.queues.jobs import send

    def send_all(numbers: list[int]) -> float:
        """Return the seconds that the calls took."""
        began = time.monotonic()
        for number in numbers:
            send(number)
        return time.monotonic() - began

    answer({"send": send_all})


if __name__ == "__main__":
    main()
