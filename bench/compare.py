#!/usr/bin/env python3
"""Measures Kiln's kernels beside its peers', in one run, and writes results/PART.json."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import record

try:
    import torch
except ImportError:
    sys.exit("compare.py needs PyTorch, for memory, events and the peers. Without it: `kiln bench`.")

import peers
from gpu_timing import interleaved
from kiln_bench import Kiln

TOKENS = 16384
MODEL_DIM = 2048
LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)
# Between two uses of a cache at least so much other memory is read: L2 holds 60 MB.
ROTATED_BYTES = 256 << 20
MOST_CACHE_BYTES = 40 << 30


def random(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.randn(shape, dtype=dtype, device="cuda")


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return (a.float() - b.float()).abs().max().item()


def timed_row(row: dict, calls: dict[str, Callable[[], object]], flops: float, rounds: int) -> dict:
    """Adds TFLOP/s and microseconds of each call that its backend takes."""
    calls = {name: call for name, call in calls.items() if name == "kiln" or peers.supported(call)}
    for name, us in interleaved(calls, rounds=rounds).items():
        row[name] = round(flops / us / 1e6, 1)
        row[f"{name}_us"] = round(us, 2)
    return row


def forward_flops(batch: int, heads: int, length: int, dims: tuple[int, int], causal: bool) -> float:
    return 2 * batch * heads * length * length * sum(dims) / (2 if causal else 1)


def forward_row(
    kiln: Kiln,
    name: str,
    dims: tuple[int, int],
    causal: bool,
    length: int,
    rounds: int,
    *,
    heads: tuple[int, int] | None = None,
    window: int | None = None,
    dtype: torch.dtype = torch.bfloat16,
) -> dict:
    """`window`: keys visible before a query's own."""
    heads_q, heads_kv = heads or (max(1, MODEL_DIM // dims[0]),) * 2
    batch = max(1, TOKENS // length)
    q = random(batch, length, heads_q, dims[0], dtype=dtype)
    k = random(batch, length, heads_kv, dims[0], dtype=dtype)
    v = random(batch, length, heads_kv, dims[1], dtype=dtype)
    out = torch.empty(batch, length, heads_q, dims[1], dtype=dtype, device="cuda")
    calls: dict[str, Callable[[], object]] = {"kiln": lambda: kiln.forward(q, k, v, out, causal=causal, window=window)}
    calls["kiln"]()
    calls |= peers.forward(q, k, v, causal=causal, window=window)
    row = {"case": name, "d": dims[0], "d_v": dims[1], "mask": "causal" if causal else "full", "length": length}
    row |= {"batch": batch, "heads_q": heads_q, "heads_kv": heads_kv}
    for judge in ("fa2", "efficient"):
        if judge in calls and peers.supported(calls[judge]):
            row[f"difference_from_{judge}"] = difference(out, calls[judge]())
            break
    return timed_row(row, calls, forward_flops(batch, heads_q, length, dims, causal), rounds)


def ragged_row(kiln: Kiln, causal: bool, rounds: int) -> dict:
    """16 sequences of 64 to 4,096 tokens, packed."""
    heads, dim = 16, 128
    lengths = [64, 4096, 128, 3000, 256, 2048, 77, 1500, 512, 1024, 333, 1100, 700, 640, 450, 449]
    total, most = sum(lengths), max(lengths)
    sums = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32).cuda()
    q, k, v = (random(total, heads, dim) for _ in range(3))
    out = torch.empty_like(q)
    calls: dict[str, Callable[[], object]] = {
        "kiln": lambda: kiln.forward_packed(q, k, v, out, sums, most, causal=causal)
    }
    calls["kiln"]()
    calls |= peers.forward_packed(q, k, v, sums, most, causal=causal)
    row = {"case": "ragged", "d": dim, "d_v": dim, "mask": "causal" if causal else "full", "length": most}
    row |= {"batch": len(lengths), "heads_q": heads, "heads_kv": heads, "tokens": total}
    if "fa2" in calls and peers.supported(calls["fa2"]):
        row["difference_from_fa2"] = difference(out, calls["fa2"]())
    return timed_row(row, calls, sum(forward_flops(1, heads, n, (dim, dim), causal) for n in lengths), rounds)


def forward_rows(kiln: Kiln, quick: bool) -> Iterator[dict]:
    rounds = 5 if quick else 15
    masks = (False, True)
    for dim in (64, 128, 256):
        for causal in masks:
            for length in LENGTHS[::3] if quick else LENGTHS:
                yield forward_row(kiln, "grid", (dim, dim), causal, length, rounds)
    some = (2048,) if quick else (2048, 16384)
    for dims in ((80, 80), (96, 96), (112, 112), (192, 192), (192, 128)):
        for causal in masks:
            for length in some:
                yield forward_row(kiln, "dims", dims, causal, length, rounds)
    for heads in ((16, 4), (16, 2)):
        for causal in masks:
            for length in some:
                yield forward_row(kiln, "gqa", (128, 128), causal, length, rounds, heads=heads)
    for dim in (64, 128):
        yield forward_row(kiln, "window", (dim, dim), True, 16384, rounds, window=1024)
    for causal in masks:
        yield ragged_row(kiln, causal, rounds)
    for dim in (64, 128):
        for causal in masks:
            for length in (2048,) if quick else (2048, 8192):
                yield forward_row(kiln, "float32", (dim, dim), causal, length, rounds, dtype=torch.float32)


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


PARTS = {"forward_portable": (forward_rows, "TFLOP/s"), "decode": (decode_rows, "GB/s of K and V")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help="forward_portable, decode (both)")
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
