#!/usr/bin/env python3
"""Runs the fuzz targets that scripts/fuzz.sh has built, shows how far they are and writes results/fuzz.json."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import record

ROOT = record.HERE.parent
INPUT_SECONDS = 10  # an input that takes longer is a finding


def cpu_name() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found.group(1) if found else os.uname().machine


def cached(build: Path, name: str) -> str:
    found = re.search(rf"^{name}:\w+=(.*)$", (build / "CMakeCache.txt").read_text(), re.MULTILINE)
    return found.group(1) if found else ""


class Progress:
    """One line that is written over on a terminal; elsewhere a line now and then."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.start = time.monotonic()
        self.done = 0  # of the targets before
        self.shown = 0.0

    def show(self, target: str, inputs: int) -> None:
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        if now - self.shown < (0.2 if terminal else 30):
            return
        self.shown = now
        all_done = self.done + inputs
        left = (now - self.start) / max(all_done, 1) * max(self.total - all_done, 0)
        line = f"{all_done:,} of {self.total:,} inputs, {target}, {left / 60:.0f} min left"
        print(f"\r{line:78}" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)


def run_target(program: Path, build: Path, runs: int, libfuzzer: bool, progress: Progress) -> dict:
    name = program.name.removeprefix("fuzz_")
    corpus = build / "corpus" / name
    findings = build / "findings"
    findings.mkdir(exist_ok=True)
    corpus.mkdir(parents=True, exist_ok=True)
    subprocess.run([program, f"-write_seeds={corpus}"], check=True)
    command = [program, f"-runs={runs}", f"-artifact_prefix={findings}/{name}-"]
    if libfuzzer:
        command += [f"-timeout={INPUT_SECONDS}", "-rss_limit_mb=2048", "-max_len=8192", "-use_value_profile=1"]
    command += [str(folder) for folder in (corpus, ROOT / "tests" / "fuzz" / "corpus" / name) if folder.is_dir()]
    before = set(findings.iterdir())
    start = time.monotonic()
    inputs, edges, tail = 0, None, []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        for line in process.stderr:
            tail = [*tail[-30:], line]
            if found := re.match(r"#(\d+)", line):
                inputs = int(found.group(1))
                progress.show(name, inputs)
            if found := re.search(r"\bcov: (\d+)", line):
                edges = int(found.group(1))
            if found := re.match(r"Done (\d+) runs", line):
                inputs = int(found.group(1))
    progress.done += inputs
    row = {"target": name, "inputs": inputs, "seconds": round(time.monotonic() - start, 1)}
    if edges is not None:
        row["edges"] = edges
    row["findings"] = len(set(findings.iterdir()) - before)
    if process.returncode:
        row["findings"] = max(row["findings"], 1)  # it ended, kept input or not
        print("".join(tail), file=sys.stderr)
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "fuzz", help="build folder (build/fuzz)")
    parser.add_argument("--runs", type=int, default=10_000_000, help="inputs over all targets (10,000,000)")
    parser.add_argument("--out", type=Path, help="folder for the result (bench/results)")
    parser.add_argument("targets", nargs="*", help="some of the targets (all)")
    arguments = parser.parse_args()

    build = arguments.build.resolve()
    programs = sorted(
        path for path in (build / "tests" / "fuzz").glob("fuzz_*") if os.access(path, os.X_OK) and path.is_file()
    )
    if arguments.targets:
        programs = [path for path in programs if path.name.removeprefix("fuzz_") in arguments.targets]
    if not programs:
        print(f"there is no such target in {build}: scripts/fuzz.sh builds them", file=sys.stderr)
        return 1
    libfuzzer = cached(build, "KILN_LIBFUZZER") == "ON"
    progress = Progress(arguments.runs)
    each = -(-arguments.runs // len(programs))
    rows = []
    for program in programs:
        rows.append(run_target(program, build, each, libfuzzer, progress))
        print(rows[-1])
    compiler = subprocess.run(
        [cached(build, "CMAKE_CXX_COMPILER"), "--version"], capture_output=True, text=True, check=True
    )
    versions = {
        "engine": "libFuzzer" if libfuzzer else "tests/fuzz/driver.cpp",
        "compiler": compiler.stdout.splitlines()[0],
        "sanitizers": "address, undefined",
    }
    path = record.write("fuzz", device=cpu_name(), versions=versions, rows=rows, folder=arguments.out)
    total, findings = sum(row["inputs"] for row in rows), sum(row["findings"] for row in rows)
    print(f"{total:,} inputs, {findings} findings; wrote {path}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
