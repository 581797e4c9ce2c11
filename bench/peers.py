"""What Kiln is measured against: the backends of PyTorch's scaled_dot_product_attention, and FlashAttention-4 and
FlashInfer where they are installed."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import warnings
from collections.abc import Callable

import torch
from kiln_bench import Cache, SharedCache, States
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

try:
    from flash_attn.cute import interface as fa4
except ImportError:
    fa4 = None
try:
    import flashinfer
except ImportError:
    flashinfer = None

BACKENDS = {"fa2": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}
# What a backend says of a case that it doesn't take, or of a kernel that it can't build here.
REFUSALS = (RuntimeError, NotImplementedError, AssertionError, ValueError, TypeError, OSError)

# Others it compiles for, too, and then reads where it must not.
FLASHINFER_DIMS = (64, 128, 256)

Call = Callable[[], torch.Tensor]
# The call for a cache like the one it was made for.
CallFor = Callable[[Cache], Call]


def attention(
    backend: SDPBackend, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, causal: bool
) -> Callable[[], torch.Tensor]:
    """A call on [batch, length, heads, dim] tensors that returns the same layout."""
    q, k, v = (tensor.transpose(1, 2) for tensor in (q, k, v))
    gqa = q.shape[1] != k.shape[1]

    def call() -> torch.Tensor:
        with sdpa_kernel(backend):
            return scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=gqa).transpose(1, 2)

    return call


def forward(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, causal: bool, window: int | None
) -> dict[str, Callable[[], torch.Tensor]]:
    """Everybody's call for the same work; some may not take it (supported())."""
    if q.dtype == torch.float32:
        return {"efficient": attention(SDPBackend.EFFICIENT_ATTENTION, q, k, v, causal=causal)}
    calls: dict[str, Callable[[], torch.Tensor]] = {}
    if window is None:
        calls = {name: attention(backend, q, k, v, causal=causal) for name, backend in BACKENDS.items()}
    else:
        # The backend knows windows, scaled_dot_product_attention doesn't.
        calls["fa2"] = lambda: torch.ops.aten._flash_attention_forward(
            q, k, v, None, None, q.shape[1], k.shape[1], 0.0, causal, False,
            window_size_left=window, window_size_right=0,
        )[0]  # fmt: skip
    if fa4 is not None:
        calls["fa4"] = lambda: fa4.flash_attn_func(q, k, v, causal=causal, window_size=(window, 0 if window else None))[
            0
        ]
    # It takes minutes to compile, so for windows it is not asked.
    plain = q.shape[0] == 1 and q.shape[-1] == v.shape[-1] in FLASHINFER_DIMS and window is None
    if flashinfer is not None and plain:
        calls["flashinfer"] = lambda: flashinfer.single_prefill_with_kv_cache(q[0], k[0], v[0], causal=causal)
    return calls


def forward_packed(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, sums: torch.Tensor, most: int, *, causal: bool
) -> dict[str, Callable[[], torch.Tensor]]:
    """The same for sequences packed as [total, heads, dim]."""
    calls = {
        "fa2": lambda: torch.ops.aten._flash_attention_forward(q, k, v, sums, sums, most, most, 0.0, causal, False)[0]
    }
    if fa4 is not None:
        calls["fa4"] = lambda: fa4.flash_attn_varlen_func(
            q, k, v, cu_seqlens_q=sums, cu_seqlens_k=sums, max_seqlen_q=most, max_seqlen_k=most, causal=causal
        )[0]
    return calls


def _fa2_chain(q: torch.Tensor, cache: Cache) -> Call:
    """New tokens that see each other as in a chain: the last one stands at the last key, as the backend has it and
    scaled_dot_product_attention hasn't."""
    return lambda: torch.ops.aten._flash_attention_forward(
        q, cache.k, cache.v, None, None, q.shape[1], cache.most, 0.0, True, False
    )[0]


def _fa2_ragged(q: torch.Tensor, cache: Cache) -> Call:
    """Sequences of their own lengths in a contiguous cache: packed ones that are used in part."""
    begins = torch.arange(q.shape[0] + 1, dtype=torch.int32, device=q.device)
    rows, k, v = (tensor.flatten(0, 1) for tensor in (q, cache.k, cache.v))
    return lambda: torch.ops.aten._flash_attention_forward(
        rows, k, v, begins * q.shape[1], begins * cache.most, q.shape[1], cache.most, 0.0, q.shape[1] > 1, False,
        seqused_k=cache.lengths,
    )[0].view_as(q)  # fmt: skip


def _fa4_decode(q: torch.Tensor, cache: Cache, *, ragged: bool, splits: int) -> Call:
    causal = q.shape[1] > 1
    if cache.table is None and not ragged:
        return lambda: fa4.flash_attn_func(q, cache.k, cache.v, causal=causal, num_splits=splits)[0]
    return lambda: fa4.flash_attn_varlen_func(
        q, cache.k, cache.v, seqused_k=cache.lengths, page_table=cache.table, causal=causal, num_splits=splits
    )[0]


def _in_pages(cache: Cache, page_size: int = 16) -> Cache:
    """A contiguous cache as the pages that it is."""
    if cache.table is not None:
        return cache
    k, v = (tensor.view(-1, page_size, *tensor.shape[2:]) for tensor in (cache.k, cache.v))
    table = torch.arange(k.shape[0], dtype=torch.int32, device=k.device).view(cache.k.shape[0], -1)
    return Cache(k, v, cache.lengths, table)


def _flashinfer_decode(q: torch.Tensor, cache: Cache, workspace: torch.Tensor) -> CallFor:
    """Planned here, once for all caches like this one."""
    pages = _in_pages(cache)
    page_size, heads_kv, dim = pages.k.shape[1:]
    batch, tokens, heads_q = q.shape[:3]
    used = -(-pages.lengths // page_size)
    indptr = torch.nn.functional.pad(used.cumsum(0, dtype=torch.int32), (1, 0))
    indices = torch.cat([row[:count] for row, count in zip(pages.table, used.tolist(), strict=True)])
    last_page_len = (pages.lengths - 1) % page_size + 1
    shape = (heads_q, heads_kv, dim, page_size)
    types = {"q_data_type": q.dtype, "kv_data_type": q.dtype}
    if tokens == 1:
        wrapper = flashinfer.BatchDecodeWithPagedKVCacheWrapper(workspace, use_tensor_cores=heads_q // heads_kv >= 4)
        wrapper.plan(indptr, indices, last_page_len, *shape, **types)
    else:
        wrapper = flashinfer.BatchPrefillWithPagedKVCacheWrapper(workspace)
        queries = torch.arange(batch + 1, dtype=torch.int32, device=q.device) * tokens
        wrapper.plan(queries, indptr, indices, last_page_len, *shape, causal=True, **types)
    rows = q.flatten(0, 1)

    def call_for(cache: Cache) -> Call:
        pages = _in_pages(cache)
        return lambda: wrapper.run(rows, (pages.k, pages.v)).view_as(q)

    return call_for


@functools.cache
def _flashinfer_workspace() -> torch.Tensor:
    return torch.zeros(256 << 20, dtype=torch.uint8, device="cuda")


def decode(q: torch.Tensor, cache: Cache, *, ragged: bool = False) -> dict[str, CallFor]:
    """Those that decode q with such a cache. Several new tokens see each other as in a chain. `ragged`: the cache's
    lengths are not all its room. FlashInfer takes pages, and is given a contiguous cache as pages of 16."""
    found: dict[str, list[CallFor]] = {}
    if cache.table is None and ragged:
        found["fa2"] = [functools.partial(_fa2_ragged, q)]
    elif cache.table is None and q.shape[1] > 1:
        found["fa2"] = [functools.partial(_fa2_chain, q)]
    elif cache.table is None:
        for name, backend in BACKENDS.items():
            found[name] = [lambda cache, backend=backend: attention(backend, q, cache.k, cache.v, causal=False)]
    if fa4 is not None:  # not every one of its kernels splits keys
        found["fa4"] = [functools.partial(_fa4_decode, q, ragged=ragged, splits=splits) for splits in (0, 1)]
    if flashinfer is not None:
        with contextlib.suppress(*REFUSALS):
            found["flashinfer"] = [_flashinfer_decode(q, cache, _flashinfer_workspace())]
    taken = {name: [call_for for call_for in ways if supported(call_for(cache))] for name, ways in found.items()}
    return {name: ways[0] for name, ways in taken.items() if ways}


def _flashinfer_cascade(q: torch.Tensor, cache: SharedCache, workspace: torch.Tensor) -> Callable[[SharedCache], Call]:
    """Planned here, once for all caches like this one. Prefix and own keys are full pages of one memory."""
    page_size = 16
    batch, _, heads_q, dim = q.shape
    heads_kv = cache.k.shape[1]
    shared, own = cache.prefix // page_size, cache.own.most // page_size
    ints = functools.partial(torch.arange, dtype=torch.int32, device=q.device)
    queries = [ints(2) * batch, ints(batch + 1)]
    indptr = [ints(2) * shared, ints(batch + 1) * own]
    indices = [ints(shared), ints(shared, shared + batch * own)]
    last_page_len = [torch.full_like(each[1:], page_size) for each in indptr]
    wrapper = flashinfer.MultiLevelCascadeAttentionWrapper(2, workspace)
    wrapper.plan(
        queries, indptr, indices, last_page_len, heads_q, heads_kv, dim, page_size,
        q_data_type=q.dtype, kv_data_type=q.dtype,
    )  # fmt: skip
    rows = q.flatten(0, 1)

    def call_for(cache: SharedCache) -> Call:
        k, v = (tensor.view(-1, page_size, heads_kv, dim) for tensor in (cache.k, cache.v))
        return lambda: wrapper.run(rows, (k, v)).view_as(q)

    return call_for


def shared_prefix(q: torch.Tensor, cache: SharedCache) -> dict[str, Callable[[SharedCache], Call]]:
    """Those that decode one new token of each sequence and read a shared prefix once."""
    if flashinfer is not None:
        with contextlib.suppress(*REFUSALS):
            call_for = _flashinfer_cascade(q, cache, _flashinfer_workspace())
            if supported(call_for(cache)):
                return {"flashinfer": call_for}
    return {}


def _flashinfer_merge(states: States) -> Call:
    return lambda: flashinfer.merge_states(states.out, states.lse)[0]


def merge(states: States) -> dict[str, Callable[[States], Call]]:
    """Those that merge such states; FlashInfer has no float32 ones."""
    if flashinfer is None or states.out.dtype == torch.float32 or not supported(_flashinfer_merge(states)):
        return {}
    return {"flashinfer": _flashinfer_merge}


def supported(call: Callable[[], torch.Tensor]) -> bool:
    """Whether the backend takes such a call at all."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says at length why not
            call()
    except REFUSALS:
        return False
    return True


def versions() -> dict[str, str]:
    found = {"torch": torch.__version__, "cudnn": str(torch.backends.cudnn.version())}
    for name in ("flash-attn-4", "flashinfer-python"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
