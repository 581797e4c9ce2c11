#!/usr/bin/env python3
"""Launches from many threads at once, checks by sample, and writes results/threads.json."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import record


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--launches", type=int, default=20_000, help="of each thread (20,000; kept: 1,000,000)")
    parser.add_argument("--build", type=Path, default=record.default_build(), help="build folder (build/release)")
    parser.add_argument("--out", type=Path, help="folder for the result (bench/results)")
    arguments = parser.parse_args()

    program = arguments.build / "bench" / "bench_threads"
    if not program.exists():
        print(f"{program} is not there: build the target bench_threads", file=sys.stderr)
        return 1
    command = [program, str(arguments.threads), str(arguments.launches)]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if not run.stdout:
        return run.returncode or 1
    result = json.loads(run.stdout)
    path = record.write(
        "threads", device=result["device"], versions=result["versions"], rows=result["rows"], folder=arguments.out
    )
    for row in result["rows"]:
        mark = {True: "ok  ", False: "MISS", None: "    "}[row.get("met")]
        print(f"{mark} {row['kiln']:12} {row['unit']:8} {row['what']}")
    print(f"wrote {path}")
    return run.returncode


if __name__ == "__main__":
    sys.exit(main())
