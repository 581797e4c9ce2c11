#!/usr/bin/env python3
"""Runs the fault suite of the cache at length and writes results/faults.json: no crash, wrong kernel or long wait."""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import record

LONGEST_S = 60  # nothing may take longer
SUITES = "*Fault*:*HostileFolder*:TrustTest*:EvictionTest*:*DamagedEntry*:LockTest*:Entry.*:*Publisher*:*Pack*"


def row(what: str, wrong: int, **more: object) -> dict:
    return {"what": what, "kiln": float(wrong), "unit": "wrong", "at_most": 0.0, "met": wrong == 0, **more}


def kills_of_publishers(build: Path, folder: Path, times: int) -> list[dict]:
    """What test_cache does to processes that publish, step by step."""
    command = [build / "tests" / "test_cache", "--worker", "kill-suite", folder, str(times)]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    tallies = [json.loads(line) for line in run.stdout.splitlines()]
    rows = []
    for tally in tallies:
        wrong = tally.pop("wrong") + tally.pop("warnings")
        rows.append(row(tally.pop("what"), wrong, **tally))
    if run.returncode or not tallies:
        rows.append(row("the kill suite ran to its end", 1, exit=run.returncode))
    return rows


def suite_rows(build: Path, folder: Path) -> list[dict]:
    """Each test of the suites: the message of each fault is asserted there."""
    report = folder / "tests.json"
    command = [build / "tests" / "test_cache", f"--gtest_filter={SUITES}", f"--gtest_output=json:{report}"]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=600)
    rows = []
    for suite in json.loads(report.read_text())["testsuites"]:
        for test in suite["testsuite"]:
            seconds = float(test["time"].rstrip("s"))
            skipped = test["result"] == "SKIPPED"
            wrong = len(test.get("failures", [])) + (seconds > LONGEST_S)
            rows.append(row(f"test {suite['name']}.{test['name']}", wrong, seconds=seconds, skipped=skipped))
    return rows


class Tool:
    """`kiln` on a machine with a stand-in for NVRTC that counts compiles."""

    def __init__(self, build: Path, folder: Path) -> None:
        self.program = build / "kiln"
        self.compiles_file = folder / "compiles"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("KILN_")}
        self.environment |= {
            "KILN_NVRTC_PATH": str(build / "shim" / "libnvrtc.so.13"),
            "KILN_LOG": "error",
            "NVRTC_SHIM_FAKE": "1",
            "NVRTC_SHIM_DELAY_MS": "10",
            "NVRTC_SHIM_COUNT": str(self.compiles_file),
        }

    def start(self, *arguments: str | Path) -> subprocess.Popen:
        return subprocess.Popen(
            [self.program, *arguments],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )

    def compiles(self) -> int:
        return len(self.compiles_file.read_text().splitlines()) if self.compiles_file.exists() else 0


KERNELS = ["--kind", "forward,decode", "--dtype", "bf16,f16", "--head-dim", "64,128", "--arch", "80,90"]


def races(tool: Tool, folder: Path, rounds: int, processes: int) -> dict:
    wrong = tool.start("precompile", *KERNELS, "-o", folder / "alone").wait(timeout=LONGEST_S) != 0
    keys = tool.compiles()  # tuned and reasoned tilings of each kernel
    slowest = 0.0
    for number in range(rounds):
        before = tool.compiles()
        start = time.monotonic()
        store = folder / f"race-{number}"
        running = [tool.start("precompile", *KERNELS, "--jobs", "2", "-o", store) for _ in range(processes)]
        wrong += sum(process.wait(timeout=LONGEST_S) != 0 for process in running)
        slowest = max(slowest, time.monotonic() - start)
        wrong += tool.compiles() - before != keys
    what = f"{processes} cold processes that want {keys} keys compile each once"
    return row(what, wrong, rounds=rounds, compiles=tool.compiles() - keys, slowest_seconds=slowest)


def tool_kills(tool: Tool, folder: Path, kills: int) -> dict:
    """Killed while they compile, lock and publish: what is there is good, and who comes after gets all."""
    chance = random.Random(20240611)
    processes = 4
    wrong = 0
    done = 0
    slowest = 0.0
    while done < kills:
        store = folder / f"killed-{done}"
        running = [tool.start("precompile", *KERNELS, "--jobs", "2", "-o", store) for _ in range(processes)]
        for process in running:
            time.sleep(chance.uniform(0, 0.06))
            process.send_signal(signal.SIGKILL)
        done += sum(process.wait(timeout=LONGEST_S) == -signal.SIGKILL for process in running)
        wrong += tool.start("cache", "verify", "--folder", store).wait(timeout=LONGEST_S) != 0
        start = time.monotonic()
        wrong += tool.start("precompile", *KERNELS, "-o", store).wait(timeout=LONGEST_S) != 0
        slowest = max(slowest, time.monotonic() - start)
    what = "four `kiln precompile` on one folder killed at random instants; then verified and completed"
    return row(what, wrong, kills=done, slowest_completion_seconds=slowest)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, default=record.default_build(), help="build folder (build/release)")
    parser.add_argument("--out", type=Path, help="folder for the result (bench/results)")
    parser.add_argument("--kills", type=int, default=150, help="at each step of publishing")
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    for program in (build / "tests" / "test_cache", build / "kiln", build / "shim" / "libnvrtc.so.13"):
        if not program.exists():
            print(f"{program} is not there: build test_cache, kiln_tool and nvrtc_shim", file=sys.stderr)
            return 1
    with tempfile.TemporaryDirectory(prefix="kiln-faults-") as name:
        folder = Path(name)
        tool = Tool(build, folder)
        rows = kills_of_publishers(build, folder / "publishers", arguments.kills)
        rows.append(tool_kills(tool, folder, arguments.kills))
        (folder / "races").mkdir()
        rows.append(races(Tool(build, folder / "races"), folder / "races", 10, 8))
        rows += suite_rows(build, folder)
    killed = sum(each.get("kills", 0) for each in rows)
    versions = {"cores": str(os.cpu_count()), "system": platform.release(), "kills": str(killed)}
    path = record.write("faults", device="no GPU", versions=versions, rows=rows, folder=arguments.out)
    missed = [each for each in rows if not each["met"]]
    for each in missed:
        print(f"WRONG {each}")
    print(f"{len(rows)} rows, {killed} kills, {len(missed)} wrong; wrote {path}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
