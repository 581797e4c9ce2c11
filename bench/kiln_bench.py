"""Kiln's calls for torch tensors, by way of libkiln_bench.so (bench/shim)."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("batch_stride", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("head_stride", ctypes.c_int64),
    )


class _Call(ctypes.Structure):
    """As KilnBenchCall in shim/kiln_bench.h."""

    _fields_ = (
        ("q", _Tensor),
        ("k", _Tensor),
        ("v", _Tensor),
        ("out", _Tensor),
        ("lse", ctypes.c_void_p),
        ("lengths", ctypes.c_void_p),
        ("workspace", ctypes.c_void_p),
        ("workspace_bytes", ctypes.c_uint64),
        ("bf16", ctypes.c_int32),
        ("head_dim_qk", ctypes.c_int32),
        ("head_dim_v", ctypes.c_int32),
        ("causal", ctypes.c_int32),
        ("batch", ctypes.c_int32),
        ("len_q", ctypes.c_int32),
        ("len_k", ctypes.c_int32),
        ("heads_q", ctypes.c_int32),
        ("heads_kv", ctypes.c_int32),
        ("num_splits", ctypes.c_int32),
    )


def _tensor(tensor: torch.Tensor) -> _Tensor:
    """A [batch, length, heads, dim] tensor."""
    batch, row, head, dim = tensor.stride()
    if dim != 1:
        raise ValueError("the head dimension must be contiguous")
    return _Tensor(tensor.data_ptr(), batch, row, head)


class Kiln:
    """One Runtime for the current device. All tensors are [batch, length, heads, dim]."""

    def __init__(self, library: Path) -> None:
        self._lib = ctypes.CDLL(str(library))
        self._lib.kiln_bench_open.restype = ctypes.c_void_p
        self._lib.kiln_bench_error.restype = ctypes.c_char_p
        self._lib.kiln_bench_version.restype = ctypes.c_char_p
        arguments = [ctypes.c_void_p, ctypes.POINTER(_Call), ctypes.c_void_p]
        for call in (self._lib.kiln_bench_forward, self._lib.kiln_bench_decode):
            call.argtypes = arguments
        self._lib.kiln_bench_decode_workspace.argtypes = [
            ctypes.c_void_p,
            ctypes.POINTER(_Call),
            ctypes.POINTER(ctypes.c_uint64),
        ]
        self._bench = self._lib.kiln_bench_open()
        if not self._bench:
            raise RuntimeError(self._error())
        self.version = self._lib.kiln_bench_version().decode()

    def _error(self) -> str:
        return self._lib.kiln_bench_error().decode()

    def _check(self, status: int) -> None:
        if status:
            raise RuntimeError(self._error())

    def _call(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor) -> _Call:
        import torch

        batch, len_q, heads_q, head_dim_qk = q.shape
        return _Call(
            q=_tensor(q),
            k=_tensor(k),
            v=_tensor(v),
            out=_tensor(out),
            bf16=q.dtype == torch.bfloat16,
            head_dim_qk=head_dim_qk,
            head_dim_v=v.shape[3],
            batch=batch,
            len_q=len_q,
            len_k=k.shape[1],
            heads_q=heads_q,
            heads_kv=k.shape[2],
        )

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor, *, causal: bool) -> None:
        import torch

        call = self._call(q, k, v, out)
        call.causal = causal
        stream = torch.cuda.current_stream().cuda_stream
        self._check(self._lib.kiln_bench_forward(self._bench, ctypes.byref(call), stream))

    def decode_workspace(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """What decode() needs for such a call, zeroed as it must be before the first."""
        import torch

        size = ctypes.c_uint64()
        call = self._call(q, k, v, out)
        self._check(self._lib.kiln_bench_decode_workspace(self._bench, ctypes.byref(call), ctypes.byref(size)))
        return torch.zeros(max(size.value, 16), dtype=torch.uint8, device=q.device)

    def decode(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        out: torch.Tensor,
        *,
        lengths: torch.Tensor,
        workspace: torch.Tensor,
    ) -> None:
        import torch

        call = self._call(q, k, v, out)
        call.lengths = lengths.data_ptr()
        call.workspace = workspace.data_ptr()
        call.workspace_bytes = workspace.numel()
        stream = torch.cuda.current_stream().cuda_stream
        self._check(self._lib.kiln_bench_decode(self._bench, ctypes.byref(call), stream))
