"""How a result is kept: {device, driver, versions, commit, command, rows}."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def driver_version() -> str:
    first = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").splitlines()
    return first[0] if first else "none"


def commit() -> str:
    """BENCH_COMMIT names it where the tree has no history of its own."""
    given = os.environ.get("BENCH_COMMIT")
    return given or _output("git", "describe", "--always", "--dirty", "--abbrev=12") or "unknown"


def command() -> str:
    """How this was run, less where the result was put."""
    words = [Path(sys.executable).name, *sys.argv]
    if "--out" in words:
        at = words.index("--out")
        del words[at : at + 2]
    return " ".join(words)


def write(part: str, *, device: str, versions: dict[str, str], rows: list[dict], folder: Path | None = None) -> Path:
    path = (folder or HERE / "results") / f"{part}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "device": device,
        "driver": driver_version(),
        "versions": versions,
        "commit": commit(),
        "command": command(),
        "rows": rows,
    }
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return path


def default_build() -> Path:
    return HERE.parent / "build" / "release"
