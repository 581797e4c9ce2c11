#!/usr/bin/env python3
"""Measures Kiln's kernels beside its peers', in one run, and writes results/PART.json."""

from __future__ import annotations

import argparse
import functools
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import record

try:
    import torch
except ImportError:
    sys.exit("compare.py needs PyTorch, for memory, events and the peers. Without it: `kiln bench`.")

import peers
from gpu_timing import interleaved
from kiln_bench import Cache, Kiln, SharedCache, States

TOKENS = 16384
MODEL_DIM = 2048
LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)
# Between two uses of a cache at least so much other memory is read: L2 holds 60 MB.
ROTATED_BYTES = 256 << 20
MOST_CACHE_BYTES = 40 << 30
DECODE_DIM = 128

# A Cache, or what else calls read in turn.
Read = TypeVar("Read")


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


def in_turn(caches: list[Read], call_bytes: int) -> list[Read]:
    """A round of all caches, and ten calls or more unless they are long."""
    return caches * (2 if call_bytes >= 1 << 30 else max(1, -(-10 // len(caches))))


def kiln_calls(
    kiln: Kiln, q: torch.Tensor, order: list[Cache], out: torch.Tensor, *, causal: bool = False, rows: int = 16
) -> list[Callable[[], object]]:
    workspace = kiln.decode_workspace(q, order[0], out, causal=causal, rows=rows)

    def call_for(cache: Cache) -> Callable[[], object]:
        return lambda: kiln.decode(q, cache, out, workspace=workspace, causal=causal, rows=rows)

    return [call_for(cache) for cache in order]


def timed_in_graphs(row: dict, calls: dict[str, list[Callable[[], object]]], call_bytes: int, rounds: int) -> dict:
    """Adds GB/s and microseconds of a call of each, out of a graph of all its calls."""
    row["calls_a_graph"] = len(calls["kiln"])
    replays = {name: captured(each).replay for name, each in calls.items()}
    for name, us in interleaved(replays, rounds=rounds).items():
        us_a_call = us / len(calls[name])
        row[name] = round(call_bytes / us_a_call / 1e3)
        row[f"{name}_us"] = round(us_a_call, 2)
    return row


def caches_of(make: Callable[[], Read], call_bytes: int) -> list[Read]:
    return in_turn([make() for _ in range(-(-ROTATED_BYTES // call_bytes))], call_bytes)


def key_bytes(heads_kv: int) -> int:
    """Of one key and its value."""
    return 2 * heads_kv * DECODE_DIM * 2


def contiguous(batch: int, length: int, heads_kv: int) -> Cache:
    lengths = torch.full((batch,), length, dtype=torch.int32, device="cuda")
    k, v = (random(batch, length, heads_kv, DECODE_DIM) for _ in range(2))
    return Cache(k, v, lengths)


def in_shuffled_pages(cache: Cache, page_size: int) -> Cache:
    batch = cache.k.shape[0]
    k, v = (tensor.view(-1, page_size, *tensor.shape[2:]) for tensor in (cache.k, cache.v))
    table = torch.randperm(k.shape[0], dtype=torch.int32, device="cuda").view(batch, -1)
    return Cache(k, v, cache.lengths, table)


def out_of_pages(cache: Cache) -> Cache:
    batch = cache.table.shape[0]
    k, v = (tensor[cache.table.long()].view(batch, -1, *tensor.shape[2:]) for tensor in (cache.k, cache.v))
    return Cache(k, v, cache.lengths)


def decode_case(name: str, heads: tuple[int, int], batch: int, length: int) -> dict:
    return {"case": name, "heads": f"{heads[0]}/{heads[1]}", "batch": batch, "length": length}


def check_decode(row: dict, calls: dict[str, list[Callable[[], object]]], out: torch.Tensor, judge: Callable) -> None:
    calls["kiln"][0]()
    row["difference_from_fa2"] = difference(out, judge())


def decode_row(kiln: Kiln, heads: tuple[int, int], batch: int, length: int, rounds: int) -> dict:
    """One new token, the cache contiguous."""
    kv_bytes = batch * length * key_bytes(heads[1])
    order = caches_of(lambda: contiguous(batch, length, heads[1]), kv_bytes)
    q = random(batch, 1, heads[0], DECODE_DIM)
    out = torch.empty_like(q)
    row = decode_case("grid", heads, batch, length)
    calls = {"kiln": kiln_calls(kiln, q, order, out)}
    found = peers.decode(q, order[0])
    if "fa2" in found:
        check_decode(row, calls, out, found["fa2"](order[0]))
    calls |= {name: [call_for(cache) for cache in order] for name, call_for in found.items()}
    return timed_in_graphs(row, calls, kv_bytes, rounds)


def paged_row(kiln: Kiln, batch: int, length: int, page_size: int, rounds: int) -> dict:
    """The cache in shuffled pages, beside the same memory as a contiguous cache."""
    heads = (32, 8)
    kv_bytes = batch * length * key_bytes(heads[1])
    plain = caches_of(lambda: contiguous(batch, length, heads[1]), kv_bytes)
    order = [in_shuffled_pages(cache, page_size) for cache in plain]
    q = random(batch, 1, heads[0], DECODE_DIM)
    out = torch.empty_like(q)
    row = decode_case("paged", heads, batch, length) | {"page_size": page_size}
    calls = {"kiln": kiln_calls(kiln, q, order, out)}
    judges = peers.decode(q, out_of_pages(order[0]))
    if "fa2" in judges:
        check_decode(row, calls, out, judges["fa2"](out_of_pages(order[0])))
    calls["kiln_contiguous"] = kiln_calls(kiln, q, plain, torch.empty_like(q))
    calls |= {name: [call_for(cache) for cache in order] for name, call_for in peers.decode(q, order[0]).items()}
    timed_in_graphs(row, calls, kv_bytes, rounds)
    row["of_contiguous"] = round(row["kiln_contiguous_us"] / row["kiln_us"], 3)
    return row


def tokens_row(kiln: Kiln, batch: int, length: int, rounds: int) -> dict:
    """16 new tokens, which see each other as in a chain, beside one."""
    heads, tokens = (32, 8), 16
    kv_bytes = batch * length * key_bytes(heads[1])
    order = caches_of(lambda: contiguous(batch, length, heads[1]), kv_bytes)
    q = random(batch, tokens, heads[0], DECODE_DIM)
    one = q[:, :1].contiguous()
    out = torch.empty_like(q)
    row = decode_case("tokens", heads, batch, length) | {"tokens": tokens}
    calls = {"kiln": kiln_calls(kiln, q, order, out, causal=True, rows=64)}
    found = peers.decode(q, order[0])
    if "fa2" in found:
        check_decode(row, calls, out, found["fa2"](order[0]))
    calls["kiln_one_token"] = kiln_calls(kiln, one, order, torch.empty_like(one))
    calls |= {name: [call_for(cache) for cache in order] for name, call_for in found.items()}
    timed_in_graphs(row, calls, kv_bytes, rounds)
    row["of_one_token"] = round(row["kiln_us"] / row["kiln_one_token_us"], 3)
    return row


def zipf_lengths(batch: int, most: int) -> torch.Tensor:
    """Of 1 to `most`: all orders of magnitude are equally likely, so that few are long."""
    draw = torch.rand(batch, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return ((most + 1.0) ** draw).long().clamp(1, most).to(torch.int32).cuda()


def ragged_decode_row(kiln: Kiln, batch: int, most: int, rounds: int) -> dict:
    """Sequences of all lengths in one cache, beside a batch of as many equal ones with the same total."""
    heads = (32, 8)
    lengths = zipf_lengths(batch, most)
    total = int(lengths.sum())
    kv_bytes = total * key_bytes(heads[1])
    ragged = contiguous(batch, most, heads[1])
    order = in_turn([Cache(ragged.k, ragged.v, lengths)], kv_bytes)
    even = caches_of(lambda: contiguous(batch, round(total / batch), heads[1]), kv_bytes)
    q = random(batch, 1, heads[0], DECODE_DIM)
    out = torch.empty_like(q)
    row = decode_case("ragged", heads, batch, most) | {"keys": total}
    calls = {"kiln": kiln_calls(kiln, q, order, out)}
    found = peers.decode(q, order[0], ragged=True)
    if "fa2" in found:
        check_decode(row, calls, out, found["fa2"](order[0]))
    calls["kiln_even"] = kiln_calls(kiln, q, even, torch.empty_like(q))
    calls |= {name: [call_for(cache) for cache in order] for name, call_for in found.items()}
    timed_in_graphs(row, calls, kv_bytes, rounds)
    row["of_even"] = round(row["kiln_even_us"] / row["kiln_us"], 3)
    return row


def with_prefix(batch: int, prefix: int, own: int, heads_kv: int) -> SharedCache:
    lengths = torch.full((batch,), own, dtype=torch.int32, device="cuda")
    k, v = (random(prefix + batch * own, heads_kv, DECODE_DIM) for _ in range(2))
    return SharedCache(k, v, prefix, lengths)


def shared_prefix_row(kiln: Kiln, batch: int, prefix: int, own: int, rounds: int) -> dict:
    """All sequences begin with the same keys, beside plain decode where each has a copy of them."""
    heads = (32, 8)
    kv_bytes = (prefix + batch * own) * key_bytes(heads[1])
    order = caches_of(lambda: with_prefix(batch, prefix, own, heads[1]), kv_bytes)
    plain_bytes = batch * (prefix + own) * key_bytes(heads[1])
    plain = in_turn([cache.copied() for cache in order[: -(-ROTATED_BYTES // plain_bytes)]], plain_bytes)
    q = random(batch, 1, heads[0], DECODE_DIM)
    out = torch.empty_like(q)
    row = decode_case("shared_prefix", heads, batch, own) | {"prefix": prefix}
    workspace = kiln.shared_prefix_workspace(q, order[0], out)
    calls: dict[str, list[Callable[[], object]]] = {
        "kiln": [functools.partial(kiln.shared_prefix, q, cache, out, workspace=workspace) for cache in order]
    }
    judges = peers.decode(q, plain[0])
    if "fa2" in judges:
        check_decode(row, calls, out, judges["fa2"](plain[0]))
    calls["kiln_plain"] = kiln_calls(kiln, q, plain, torch.empty_like(q))
    found = peers.shared_prefix(q, order[0])
    calls |= {name: [call_for(cache) for cache in order] for name, call_for in found.items()}
    timed_in_graphs(row, calls, kv_bytes, rounds)
    row["of_plain"] = round(row["kiln_us"] / row["kiln_plain_us"], 3)
    return row


def partial_states(rows: int, count: int, heads: int, dtype: torch.dtype) -> States:
    out = random(rows, count, heads, DECODE_DIM, dtype=dtype)
    return States(out, random(rows, count, heads, dtype=torch.float32))


def merged(states: States) -> torch.Tensor:
    """In float32, by torch."""
    weights = torch.softmax(states.lse * math.log(2), dim=1)
    return (weights[..., None] * states.out.float()).sum(dim=1)


def merge_row(kiln: Kiln, count: int, dtype: torch.dtype, rounds: int) -> dict:
    """States of 4,096 tokens into bf16 and their LSEs."""
    rows, heads = 4096, 32
    state_bytes, result_bytes = (each.itemsize * DECODE_DIM + 4 for each in (dtype, torch.bfloat16))
    call_bytes = rows * heads * (count * state_bytes + result_bytes)
    order = caches_of(lambda: partial_states(rows, count, heads, dtype), call_bytes)
    out = torch.empty(rows, heads, DECODE_DIM, dtype=torch.bfloat16, device="cuda")
    lse = torch.empty(rows, heads, dtype=torch.float32, device="cuda")
    row = {"case": "merge", "heads": str(heads), "rows": rows, "states": count}
    row["dtype"] = str(dtype).removeprefix("torch.")
    calls: dict[str, list[Callable[[], object]]] = {
        "kiln": [functools.partial(kiln.merge, states, out, lse) for states in order]
    }
    calls["kiln"][0]()
    row["difference_from_torch"] = difference(out, merged(order[0]))
    found = peers.merge(order[0])
    calls |= {name: [call_for(states) for states in order] for name, call_for in found.items()}
    return timed_in_graphs(row, calls, call_bytes, rounds) | {"unit": "GB/s read and written"}


def decode_rows(kiln: Kiln, quick: bool) -> Iterator[dict]:
    rounds = 5 if quick else 9
    for heads in ((32, 8),) if quick else ((32, 8), (64, 8), (32, 32)):
        for batch in (1, 32) if quick else (1, 8, 32, 128):
            for length in (1024, 8192) if quick else (1024, 8192, 32768):
                if batch * length * key_bytes(heads[1]) <= MOST_CACHE_BYTES:
                    yield decode_row(kiln, heads, batch, length, rounds)
    for page_size in (16,) if quick else (1, 16, 64):
        for batch, length in ((8, 8192),) if quick else ((1, 32768), (8, 8192), (32, 8192)):
            yield paged_row(kiln, batch, length, page_size, rounds)
    for batch in (8,) if quick else (8, 32):
        yield tokens_row(kiln, batch, 8192, rounds)
    yield ragged_decode_row(kiln, 64, 4096 if quick else 32768, rounds)
    for batch in (32,) if quick else (32, 128):
        yield shared_prefix_row(kiln, batch, 8192, 512, rounds)
    for dtype in (torch.bfloat16, torch.float32):
        for count in (2,) if quick else (2, 8):
            yield merge_row(kiln, count, dtype, rounds)


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
            torch.cuda.empty_cache()
            print("  ".join(f"{name}={value}" for name, value in row.items()), flush=True)
            rows.append({**row, "unit": row.get("unit", unit)})
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
