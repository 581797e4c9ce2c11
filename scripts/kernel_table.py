#!/usr/bin/env python3
"""Compiles every shipped kernel for every architecture and writes tests/kernels/shipped_kernels.tsv: the registers and
the shared memory of each, for one NVRTC. A change that costs registers then shows in review. Ends with 1 if any spills.

It takes some 17 minutes of CPU time; --arch renews the rows of some architectures only.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests/kernels/shipped_kernels.tsv"


def compiled(tool: pathlib.Path, arch: str) -> list[dict]:
    command = [tool, "--json", "compile", "--all", "--arch", arch]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def kept_rows(renewed: set[str]) -> list[str]:
    """Rows of the architectures that are not compiled now."""
    lines = TABLE.read_text().splitlines()[2:] if TABLE.exists() else []
    return [line for line in lines if line.split("\t")[0].rsplit("_", 1)[1] not in renewed]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="all", help="compute capabilities: 80,90 or all")
    parser.add_argument("--tool", type=pathlib.Path, default=ROOT / "build/release/kiln")
    arguments = parser.parse_args()

    kernels = compiled(arguments.tool, arguments.arch)
    rows = kept_rows({kernel["name"].rsplit("_", 1)[1] for kernel in kernels})
    rows += [f"{kernel['name']}\t{kernel['registers']}\t{kernel['smem_bytes']}" for kernel in kernels]
    header = [f"# NVRTC {kernels[0]['compiler']}", "# kernel\tregisters\tbytes of shared memory"]
    TABLE.write_text("\n".join([*header, *sorted(rows)]) + "\n")

    spilled = [kernel["name"] for kernel in kernels if kernel["spill_bytes"]]
    for name in spilled:
        print(f"{name} spills", file=sys.stderr)
    print(f"{len(rows)} kernels in {TABLE.relative_to(ROOT)}, {len(spilled)} of {len(kernels)} compiled spill")
    return 1 if spilled else 0


if __name__ == "__main__":
    sys.exit(main())
