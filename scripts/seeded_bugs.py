#!/usr/bin/env python3
"""Puts one bug after the other into a copy of the kernel templates and sees whether the GPU suite turns red.

    scripts/seeded_bugs.py            needs a GPU: the chosen tests must pass without a bug and fail with each
    scripts/seeded_bugs.py --check    needs NVRTC only: each bug's text is there to be changed, and still compiles

Ends with 0 if all is as it should be, 1 if a bug survives, and 77 if what it needs is missing.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable

ROOT = pathlib.Path(__file__).resolve().parent.parent
MISSING = 77
NO_COMPILER = 3  # kiln's exit code

Edit = Callable[[pathlib.Path], None]


def once(text: str, anchor: str, file: str) -> str:
    if text.count(anchor) != 1:
        sys.exit(f"{file}: {anchor!r} is there {text.count(anchor)} times: bring the bug up to date")
    return anchor


def replace(file: str, old: str, new: str) -> Edit:
    def edit(templates: pathlib.Path) -> None:
        text = (templates / file).read_text()
        (templates / file).write_text(text.replace(once(text, old, file), new))

    return edit


def move(file: str, begin: str, end: str, before: str) -> Edit:
    """Takes what stands from `begin` up to `end` and puts it before `before`."""

    def edit(templates: pathlib.Path) -> None:
        text = (templates / file).read_text()
        first = text.index(once(text, begin, file))
        last = text.index(once(text, end, file))
        block = text[first:last]
        text = text[:first] + text[last:]
        (templates / file).write_text(text.replace(once(text, before, file), block + before))

    return edit


@dataclasses.dataclass
class Bug:
    name: str
    edits: list[Edit]
    tests: str  # what must find it
    kernel: dict  # what must still compile


FORWARD = "attention/forward_sm80.cu"
COVER = "*ForwardCover.MatchesTheReference/n*_d64_"
KERNEL = {"kind": "forward", "dtype": "bf16", "head_dim": 64}

DECODE = "attention/decode_sm80.cu"
PLAN = "device/decode_plan.cuh"
DECODE_COVER = "*DecodeCover.MatchesTheReference/n*_d64_"
DECODE_KERNEL = {"kind": "decode", "dtype": "bf16", "head_dim": 64}

MERGE = "attention/merge.cu"
MERGE_COVER = "*MergeCover.MatchesTheReference/*"
MERGE_KERNEL = {"kind": "merge", "dtype": "bf16", "head_dim": 128}

BUGS = [
    Bug(
        "diagonal off by one",
        [replace("device/mask.cuh", "end = min(end, diagonal + 1)", "end = min(end, diagonal)")],
        f"{COVER}causal_*",
        KERNEL | {"causal": True},
    ),
    Bug(
        "window sides swapped",
        [replace("device/mask.cuh", "i32 window_left, i32 window_right) {", "i32 window_right, i32 window_left) {")],
        f"{COVER}window_*",
        KERNEL | {"window": "sliding"},
    ),
    Bug(
        "V tail not zeroed",
        [replace(FORWARD, "p.v_strides.row, valid, thread);", "p.v_strides.row, config::kTileN, thread);")],
        f"{COVER}*_padded_*",
        KERNEL,
    ),
    Bug(
        "sink counted twice",
        [
            replace(
                "device/online_softmax.cuh",
                "+ ptx::ex2_approx_ftz_f32(logit - m[b][r])",
                "+ 2.0f * ptx::ex2_approx_ftz_f32(logit - m[b][r])",
            )
        ],
        f"{COVER}*sinks_*",
        KERNEL | {"sinks": True},
    ),
    Bug(
        "GQA by modulo",
        [replace(FORWARD, "return tile.head / p.group;", "return tile.head % p.heads_kv;")],
        f"{COVER}*_h8x2_*:{COVER}*_h4x2_*",
        KERNEL,
    ),
    Bug(
        "32-bit offset",
        [
            replace(
                "device/sequence.cuh",
                "cu_seqlens[b] * strides.row : b * strides.batch;",
                "static_cast<i32>(cu_seqlens[b] * strides.row) : static_cast<i32>(b * strides.batch);",
            ),
            replace(
                "device/paged_rows.cuh",
                "v[row] = page * p.v_strides.batch",
                "v[row] = static_cast<i32>(page * p.v_strides.batch)",
            ),
        ],
        "*Offsets.Forward*",
        KERNEL | {"paged": True, "ragged": True},
    ),
    Bug(
        "softcap after mask",
        [
            move(
                FORWARD,
                "    if constexpr (score_kind().changes_scores()) {",
                "    if (keys.hides_some(first_key)) {",
                "    softmax_.update(s, o_);",
            )
        ],
        f"{COVER}*softcap_*",
        KERNEL | {"causal": True, "softcap": True},
    ),
    Bug(
        "ALiBi without delta",
        [replace(FORWARD, "diagonal_shift(mask_kind(), rows.len_q, rows.len_k));", "0);")],
        f"{COVER}*alibi_*",
        KERNEL | {"alibi": True},
    ),
    Bug(
        "last tile's mask missing",
        [
            replace(
                FORWARD,
                "if (keys.hides_some(first_key)) {",
                "if (t + 1 < tiles_.end && keys.hides_some(first_key)) {",
            )
        ],
        f"{COVER}*_bshd_*",
        KERNEL,
    ),
    Bug(
        "LSE of an empty row 0",
        [replace("device/online_softmax.cuh", "return sum == 0.0f ? minus_inf() :", "return sum == 0.0f ? 0.0f :")],
        f"{COVER}causal_*_lse*",
        KERNEL | {"causal": True},
    ),
    Bug(
        "split boundary off by one",
        [replace(PLAN, ": even.begin(part + 1);", ": even.begin(part + 1) - (part + 1 < parts);")],
        f"*DecodeEdges.EveryNumberOfSplits*:{DECODE_COVER}*_splits*",
        DECODE_KERNEL,
    ),
    Bug(
        "last page's length ignored",
        [replace(PLAN, "(pages - 1) * page_size + min(cache.last_page_len[b], page_size)", "pages * page_size")],
        f"{DECODE_COVER}*_lists*",
        DECODE_KERNEL | {"paged": True},
    ),
    Bug(
        "counter not set back",
        [replace("device/decode_merge.cuh", "if (last) *counter = 0;", "")],
        "*DecodeEdges.*",
        DECODE_KERNEL,
    ),
    Bug(
        "what is held back not waited for",
        [
            replace(
                "device/decode_producer.cuh",
                "cp_async_wait_group<max(config::kStages - 3, 0)>()",
                "cp_async_wait_group<config::kStages - 2>()",
            )
        ],
        "*DecodeEdges.BlocksOfSeveralLongShares*",
        DECODE_KERNEL,
    ),
    Bug(
        "merge without the maximum",
        [replace("device/decode_merge.cuh", "top = max(top, state[i].top);", "top = 0.0f;")],
        "*DecodeEdges.AHuge*:*DecodeFeatures.AHuge*",
        DECODE_KERNEL,
    ),
    Bug(
        "decode's GQA by modulo",
        [
            replace(
                "device/decode_block.cuh",
                "return kv_head * p.group + begin + row - query(p, row) * p.group;",
                "return kv_head + (begin + row - query(p, row) * p.group) * p.heads_kv;",
            )
        ],
        f"{DECODE_COVER}*_h8x2_*:{DECODE_COVER}*_h4x2_*",
        DECODE_KERNEL,
    ),
    Bug(
        "left padding ignored",
        [replace(PLAN, "return cache.left_padding == nullptr ? 0 : max(cache.left_padding[b], 0);", "return 0;")],
        f"{DECODE_COVER}*_padding*",
        DECODE_KERNEL | {"paged": True},
    ),
    Bug(
        "tree bit off by one",
        [replace(DECODE, "token = first_token + n * kMmaN + i;", "token = first_token + n * kMmaN + i + 1;")],
        f"{DECODE_COVER}*_tree*",
        DECODE_KERNEL,
    ),
    Bug(
        "no wait for the kernel before",
        [replace("device/stream_order.cuh", "  ptx::griddepcontrol_wait();\n", "")],
        "*Overlap.*",
        DECODE_KERNEL,
    ),
    Bug(
        "states weighed without a maximum",
        [replace(MERGE, "top = fmaxf(top, lse[i]);", "top = 0.0f;")],
        MERGE_COVER,
        MERGE_KERNEL,
    ),
    Bug(
        "an empty state's NaN counts",
        [replace(MERGE, "if (weight == 0.0f) continue;", "")],
        MERGE_COVER,
        MERGE_KERNEL,
    ),
    Bug(
        "LSE strides of the result for all",
        [replace(MERGE, "state.lse[place.offset(state.lse_strides)]", "state.lse[place.offset(p.lse_strides)]")],
        "*SharedPrefixOnGpu*",
        MERGE_KERNEL,
    ),
]


def patched(bug: Bug, folder: pathlib.Path) -> pathlib.Path:
    templates = folder / "templates"
    shutil.copytree(ROOT / "templates", templates)
    for edit in bug.edits:
        edit(templates)
    return templates


def check(tool: pathlib.Path) -> int:
    """Whether each bug can be put in and compiles."""
    failed = 0
    for bug in BUGS:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            manifest = folder / "manifest.json"
            manifest.write_text(json.dumps({"architectures": [90], "kernels": [bug.kernel]}))
            command = [tool, "--template-dir", patched(bug, folder), "precompile", manifest, "-o", folder / "kernels"]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode == NO_COMPILER:
            print(run.stderr, end="")
            return MISSING
        failed += run.returncode != 0
        print(f"{bug.name:33} {'compiles' if run.returncode == 0 else 'does not compile'}")
        if run.returncode != 0:
            print(run.stderr)
    return 1 if failed else 0


@dataclasses.dataclass
class Outcome:
    ran: int
    failed: list[str]
    exit_code: int


def run_suite(suite: pathlib.Path, tests: str, templates: pathlib.Path | None) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        result = pathlib.Path(folder) / "result.json"
        variables = {name: value for name, value in os.environ.items() if not name.startswith("KILN_")}
        variables["KILN_CACHE_DIR"] = ""  # in memory only: nothing of a bug stays
        if templates:
            variables["KILN_TEMPLATE_DIR"] = str(templates)
        command = [suite, f"--gtest_filter={tests}", f"--gtest_output=json:{result}"]
        run = subprocess.run(command, capture_output=True, env=variables, check=False)
        if not result.exists():  # it crashed
            return Outcome(0, [], run.returncode)
        groups = json.loads(result.read_text())["testsuites"]
    ended = [(f"{group['name']}.{test['name']}", test) for group in groups for test in group["testsuite"]]
    return Outcome(
        ran=sum(test["result"] == "COMPLETED" for _, test in ended),
        failed=[name for name, test in ended if test.get("failures")],
        exit_code=run.returncode,
    )


def prove(suite: pathlib.Path) -> int:
    """Whether the suite is green without a bug and red with each."""
    survivors = 0
    for bug in BUGS:
        sound = run_suite(suite, bug.tests, None)
        if sound.exit_code == 0 and sound.ran == 0:
            print(f"{bug.name}: none of {bug.tests} ran: is there a GPU?")
            return MISSING
        with tempfile.TemporaryDirectory() as folder:
            broken = run_suite(suite, bug.tests, patched(bug, pathlib.Path(folder)))
        found = sound.exit_code == 0 and broken.exit_code != 0
        survivors += not found
        if sound.exit_code != 0:
            verdict = f"RED WITHOUT IT: {', '.join(sound.failed[:3])}"
        elif broken.exit_code == 0:
            verdict = f"SURVIVES {broken.ran} tests"
        elif broken.failed:
            verdict = f"found by {len(broken.failed)} of {broken.ran} tests"
        else:
            verdict = f"found: the suite ended with {broken.exit_code}"
        print(f"{bug.name:33} {verdict}", flush=True)
    print(f"{len(BUGS) - survivors} of {len(BUGS)} found")
    return 1 if survivors else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    build = ROOT / os.environ.get("KILN_BUILD_DIR", "build/release")
    parser.add_argument("--check", action="store_true", help="only see whether the bugs compile")
    parser.add_argument("--tool", type=pathlib.Path, default=build / "kiln", help="the kiln tool, for --check")
    parser.add_argument("--suite", type=pathlib.Path, default=build / "tests/gpu/test_gpu", help="the GPU suite")
    arguments = parser.parse_args()
    return check(arguments.tool) if arguments.check else prove(arguments.suite)


if __name__ == "__main__":
    sys.exit(main())
