#!/usr/bin/env python3
"""Measures the host's side of Kiln (compiles, cache, launches) and writes results/host.json."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import record


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, default=record.default_build(), help="build folder (build/release)")
    parser.add_argument("--out", type=Path, help="folder for the result (bench/results)")
    arguments = parser.parse_args()

    program = arguments.build / "bench" / "bench_host"
    if not program.exists():
        print(f"{program} is not there: build the target bench_host", file=sys.stderr)
        return 1
    run = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode:
        return run.returncode
    result = json.loads(run.stdout)
    versions = {name: str(version) for name, version in result["versions"].items()}
    versions["cores"] = str(result["cores"])
    path = record.write("host", device=result["device"], versions=versions, rows=result["rows"], folder=arguments.out)
    for row in result["rows"]:
        mark = {True: "ok  ", False: "MISS", None: "    "}[row.get("met")]
        print(f"{mark} {row['kiln']:10.2f} {row['unit']:8} {row['what']}")
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
