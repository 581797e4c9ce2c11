#!/usr/bin/env python3
"""Writes the compile commands for clang-tidy: each file once, and as it is without precompiled headers.

Nearly all that clang-tidy spends is parsing. A file that two targets compile would be read twice, and clang, which
can't use g++'s precompiled headers, would read all of them for every file.
"""

import argparse
import json
import pathlib
import re

PRECOMPILED = re.compile(r" (-Winvalid-pch|-fpch-preprocess|-include \S*/cmake_pch\.hxx)(?= )")
# They differ in constants only: one stands for all of its kernel.
EMULATED = re.compile(r"/tests/device/emulated_[a-z]+_")


def what_it_shows(file: str) -> str:
    emulated = EMULATED.search(file)
    return emulated.group() if emulated else file


def lint_commands(commands: list[dict]) -> list[dict]:
    chosen: dict[str, dict] = {}
    for entry in commands:
        entry["command"] = PRECOMPILED.sub("", entry["command"])
        chosen.setdefault(what_it_shows(entry["file"]), entry)
    return list(chosen.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path, help="configured with CMAKE_EXPORT_COMPILE_COMMANDS")
    parser.add_argument("out", type=pathlib.Path, help="folder for the new compile_commands.json")
    args = parser.parse_args()
    commands = json.loads((args.build / "compile_commands.json").read_text())
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "compile_commands.json").write_text(json.dumps(lint_commands(commands), indent=1))


if __name__ == "__main__":
    main()
