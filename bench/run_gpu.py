#!/usr/bin/env python3
"""Measures Kiln's kernels beside PyTorch's, in one run, and writes results/forward.json and decode.json."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import record

try:
    import torch
except ImportError:
    sys.exit("run_gpu.py needs PyTorch, for memory, events and the peers. Without it: `kiln bench`.")

import peers
from gpu_timing import interleaved
from kiln_bench import Kiln

TOKENS = 16384
MODEL_DIM = 2048
LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)
# Between two uses of a cache at least so much other memory is read: L2 holds 60 MB.
ROTATED_BYTES = 256 << 20
MOST_CACHE_BYTES = 40 << 30


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.bfloat16, device="cuda")


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return (a.float() - b.float()).abs().max().item()


def forward_row(kiln: Kiln, dim: int, causal: bool, length: int, rounds: int) -> dict:
    batch, heads = TOKENS // length, MODEL_DIM // dim
    q, k, v = (random(batch, length, heads, dim) for _ in range(3))
    out = torch.empty_like(q)
    calls: dict[str, Callable[[], object]] = {"kiln": lambda: kiln.forward(q, k, v, out, causal=causal)}
    for name, backend in peers.BACKENDS.items():
        call = peers.attention(backend, q, k, v, causal=causal)
        if peers.supported(call):
            calls[name] = call
    calls["kiln"]()
    row = {"d": dim, "mask": "causal" if causal else "full", "length": length, "batch": batch, "heads": heads}
    if "fa2" in calls:
        row["difference_from_fa2"] = difference(out, calls["fa2"]())
    flops = 4 * batch * heads * length * length * dim / (2 if causal else 1)
    for name, us in interleaved(calls, rounds=rounds).items():
        row[name] = round(flops / us / 1e6, 1)
        row[f"{name}_us"] = round(us, 2)
    return row


def forward_rows(kiln: Kiln, quick: bool) -> Iterator[dict]:
    for dim in (64, 128):
        for causal in (False, True):
            for length in LENGTHS[::3] if quick else LENGTHS:
                yield forward_row(kiln, dim, causal, length, rounds=5 if quick else 15)


def captured(calls: list[Callable[[], object]]) -> torch.cuda.CUDAGraph:
    """One graph of all calls, each run before so that nothing is set up while capturing."""
    for call in calls[:2]:
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    return graph


def decode_row(kiln: Kiln, heads: tuple[int, int], batch: int, length: int, rounds: int) -> dict:
    heads_q, heads_kv = heads
    dim = 128
    kv_bytes = 2 * batch * length * heads_kv * dim * 2
    copies = -(-ROTATED_BYTES // kv_bytes)
    caches = [(random(batch, length, heads_kv, dim), random(batch, length, heads_kv, dim)) for _ in range(copies)]
    q = random(batch, 1, heads_q, dim)
    out = torch.empty_like(q)
    lengths = torch.full((batch,), length, dtype=torch.int32, device="cuda")
    workspace = kiln.decode_workspace(q, *caches[0], out)
    # A round of all caches, and ten calls or more unless they are long.
    order = caches * max(1, -(-10 // copies)) if kv_bytes < 1 << 30 else caches * 2
    row = {"heads": f"{heads_q}/{heads_kv}", "batch": batch, "length": length, "calls_a_graph": len(order)}

    def kiln_call(k: torch.Tensor, v: torch.Tensor) -> Callable[[], object]:
        return lambda: kiln.decode(q, k, v, out, lengths=lengths, workspace=workspace)

    graphs = {"kiln": captured([kiln_call(k, v) for k, v in order])}
    kiln_call(*caches[0])()
    for name, backend in peers.BACKENDS.items():
        first = peers.attention(backend, q, *caches[0], causal=False)
        if peers.supported(first):
            if name == "fa2":
                row["difference_from_fa2"] = difference(out, first())
            graphs[name] = captured([peers.attention(backend, q, k, v, causal=False) for k, v in order])
    for name, us in interleaved({name: graph.replay for name, graph in graphs.items()}, rounds=rounds).items():
        us_a_call = us / len(order)
        row[name] = round(kv_bytes / us_a_call / 1e3)
        row[f"{name}_us"] = round(us_a_call, 2)
    return row


def decode_rows(kiln: Kiln, quick: bool) -> Iterator[dict]:
    for heads in ((32, 8), (32, 32)):
        for batch in (1, 32) if quick else (1, 8, 32, 128):
            for length in (1024, 8192) if quick else (1024, 8192, 32768):
                if 2 * batch * length * heads[1] * 128 * 2 <= MOST_CACHE_BYTES:
                    yield decode_row(kiln, heads, batch, length, rounds=5 if quick else 9)
                    torch.cuda.empty_cache()


PARTS = {"forward": (forward_rows, "TFLOP/s"), "decode": (decode_rows, "GB/s of K and V")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help="forward, decode (both)")
    parser.add_argument("--build", type=Path, default=record.default_build(), help="build folder (build/release)")
    parser.add_argument("--out", type=Path, help="folder for the results (bench/results)")
    parser.add_argument("--quick", action="store_true", help="few cases, few rounds: does it all work?")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - PARTS.keys()
    if unknown:
        parser.error(f"unknown part {unknown.pop()}: it is one of {', '.join(PARTS)}")
    if not torch.cuda.is_available():
        print("no GPU: nothing is measured", file=sys.stderr)
        return 1

    torch.manual_seed(0)
    torch.cuda.init()
    kiln = Kiln(arguments.build / "src" / "libkiln.so")
    for part in arguments.parts or PARTS:
        rows_of, unit = PARTS[part]
        rows = []
        for row in rows_of(kiln, arguments.quick):
            print("  ".join(f"{name}={value}" for name, value in row.items()), flush=True)
            rows.append({**row, "unit": unit})
        path = record.write(
            part,
            device=torch.cuda.get_device_name(),
            versions={"kiln": kiln.version, **peers.versions()},
            rows=rows,
            folder=arguments.out,
        )
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
