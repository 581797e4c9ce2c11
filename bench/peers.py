"""What Kiln is measured against: PyTorch's scaled_dot_product_attention by two of its backends."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

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


def supported(call: Callable[[], torch.Tensor]) -> bool:
    """Whether the backend takes such a call at all."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says at length why not
            call()
    except RuntimeError:
        return False
    return True


def versions() -> dict[str, str]:
    return {"torch": torch.__version__, "cudnn": str(torch.backends.cudnn.version())}
