"""Timing on the GPU: events around each call, a busy kernel ahead of it so that the host's launch time
is hidden, peers in turn, the median."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch

# About a millisecond: longer than any host needs to queue what follows.
BUSY_CLOCKS = 2_000_000


def interleaved(calls: dict[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Median microseconds of each call."""
    for call in calls.values():
        for _ in range(2):
            call()
    torch.cuda.synchronize()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        pairs = {}
        for name, call in calls.items():
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda._sleep(BUSY_CLOCKS)
            begin.record()
            call()
            end.record()
            pairs[name] = (begin, end)
        torch.cuda.synchronize()
        for name, (begin, end) in pairs.items():
            times[name].append(begin.elapsed_time(end) * 1e3)
    return {name: statistics.median(each) for name, each in times.items()}
