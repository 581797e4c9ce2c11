"""What Kiln is measured against: the backends of PyTorch's scaled_dot_product_attention, and FlashAttention-4 and
FlashInfer where they are installed."""

from __future__ import annotations

import contextlib
import importlib.metadata
import warnings
from collections.abc import Callable

import torch
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
    if flashinfer is not None and q.shape[0] == 1:
        left = -1 if window is None else window
        calls["flashinfer"] = lambda: flashinfer.single_prefill_with_kv_cache(
            q[0], k[0], v[0], causal=causal, window_left=left
        )
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


def supported(call: Callable[[], torch.Tensor]) -> bool:
    """Whether the backend takes such a call at all."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says at length why not
            call()
    except (RuntimeError, NotImplementedError, AssertionError, ValueError, TypeError):
        return False
    return True


def versions() -> dict[str, str]:
    found = {"torch": torch.__version__, "cudnn": str(torch.backends.cudnn.version())}
    for name in ("flash-attn-4", "flashinfer-python"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
