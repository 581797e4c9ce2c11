"""Writes and checks tests/gpu/record.json: which GPU tests ran on which sources, and how they ended.

The record holds a digest of everything that decides what runs on a GPU, so that a change shows it to be stale.
"""

import argparse
import collections
import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
RECORD = pathlib.PurePosixPath("tests/gpu/record.json")
HASHED = ("templates", "include", "src", "tests/gpu", "python")
NOT_HASHED = ("src/cli", str(RECORD))
TOOLS = ("memcheck", "racecheck")


def hashed_files(root: pathlib.Path) -> list[str]:
    def counts(name: str) -> bool:
        left_out = any(name == path or name.startswith(path + "/") for path in NOT_HASHED)
        return not left_out and "__pycache__" not in name

    names = (
        path.relative_to(root).as_posix() for folder in HASHED for path in (root / folder).rglob("*") if path.is_file()
    )
    return sorted(filter(counts, names))


def source_digest(root: pathlib.Path) -> str:
    """SHA-256 over every name and content, each with its length before it."""
    digest = hashlib.sha256()
    for name in hashed_files(root):
        for part in (name.encode(), (root / name).read_bytes()):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
    return digest.hexdigest()


def outcomes(suite: dict) -> dict[str, list[str]]:
    """Names of a GoogleTest JSON result by how the tests ended."""
    ended: dict[str, list[str]] = {"passed": [], "skipped": [], "failed": []}
    for group in suite["testsuites"]:
        for test in group["testsuite"]:
            name = f"{group['name']}.{test['name']}"
            if test.get("failures"):
                ended["failed"].append(name)
            elif test["result"] == "SKIPPED":
                ended["skipped"].append(name)
            elif test["result"] == "COMPLETED":
                ended["passed"].append(name)
    return {how: sorted(names) for how, names in ended.items()}


def by_test(names: list[str]) -> dict[str, int]:
    """How many cases of each test: thousands of them differ in their parameters only."""
    return dict(collections.Counter(re.sub(r"(\..*?)/.*", r"\1", name) for name in names))


def driver_release() -> str:
    """The driver's own number, which its API does not tell."""
    if not shutil.which("nvidia-smi"):
        return "unknown"
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    lines = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()
    return lines[0] if lines else "unknown"


def machine(doctor: dict) -> dict[str, str]:
    found = {finding["subject"]: finding["detail"] for finding in doctor["findings"]}
    paths = re.compile(r" ?/[^,]*,?")
    return {
        "device": found.get("GPU 0", "none"),
        "driver": f"{driver_release()}, {paths.sub('', found.get('driver', 'none')).rstrip(', ')}",
        "nvrtc": re.sub(r", compiles for .*", "", paths.sub("", found.get("NVRTC", "none"))),
    }


def write(arguments: argparse.Namespace, root: pathlib.Path) -> int:
    ended = outcomes(json.loads(arguments.suite.read_text()))
    sanitized = dict.fromkeys(TOOLS, "not run") | dict(item.split("=", 1) for item in arguments.sanitizer)
    record = {
        "sources": source_digest(root),
        **machine(json.loads(arguments.doctor.read_text())),
        "sanitizer": sanitized,
        "counts": {how: len(names) for how, names in ended.items()},
        "tests": {**ended, "passed": by_test(ended["passed"])},
    }
    (root / RECORD).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    counts = record["counts"]
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 0


def faults(record: dict, root: pathlib.Path) -> list[str]:
    found = []
    if record["sources"] != source_digest(root):
        found.append("the sources have changed since")
    if not record["tests"]["passed"]:
        found.append("no test passed")
    if record["tests"]["failed"]:
        found.append(f"these failed: {', '.join(record['tests']['failed'])}")
    found += [f"{tool}: {how}" for tool, how in record["sanitizer"].items() if how != "passed"]
    return found


def check(root: pathlib.Path) -> int:
    try:
        found = faults(json.loads((root / RECORD).read_text()), root)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        found = [f"it can't be read: {error!r}"]
    for fault in found:
        print(f"{RECORD}: {fault}")
    return 1 if found else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="the source tree")
    commands = parser.add_subparsers(dest="command", required=True)
    writer = commands.add_parser("write")
    writer.add_argument("--suite", type=pathlib.Path, required=True, help="GoogleTest's JSON")
    writer.add_argument("--doctor", type=pathlib.Path, required=True, help="kiln doctor's JSON")
    writer.add_argument("--sanitizer", action="append", default=[], metavar="TOOL=OUTCOME")
    commands.add_parser("check")
    arguments = parser.parse_args()
    return write(arguments, arguments.root) if arguments.command == "write" else check(arguments.root)


if __name__ == "__main__":
    sys.exit(main())
