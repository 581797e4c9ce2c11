"""Kiln's calls for torch tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import kiln_capi as capi
import torch

_DTYPES = {torch.float16: capi.F16, torch.bfloat16: capi.BF16, torch.float32: capi.F32}


def _tensor(tensor: torch.Tensor) -> capi.Tensor:
    """A [batch, length, heads, dim] tensor, or a packed [total, heads, dim] one."""
    *batch, row, head, dim = tensor.stride()
    if dim != 1:
        raise ValueError("the head dimension must be contiguous")
    return capi.Tensor(tensor.data_ptr(), capi.Strides(sum(batch), row, head))


def _config(q: torch.Tensor, v: torch.Tensor, *, causal: bool = False, **members: int) -> capi.AttentionConfig:
    return capi.AttentionConfig(
        dtype=_DTYPES[q.dtype], head_dim_qk=q.shape[-1], head_dim_v=v.shape[-1], causal=int(causal), **members
    )


@dataclass(frozen=True)
class Cache:
    """Keys and values that were kept, and how many count."""

    k: torch.Tensor  # [batch, length, heads, dim], or with a table [pages, page_size, heads, dim]
    v: torch.Tensor
    lengths: torch.Tensor  # [batch], int32
    table: torch.Tensor | None = None  # [batch, pages of a sequence], int32

    @property
    def most(self) -> int:
        """Keys that a sequence has room for."""
        return self.k.shape[1] * (1 if self.table is None else self.table.shape[1])


@dataclass(frozen=True)
class SharedCache:
    """Keys and values that all sequences begin with, and behind them in the same memory what each has of its own."""

    k: torch.Tensor  # [prefix + batch * own, heads, dim]
    v: torch.Tensor
    prefix: int
    lengths: torch.Tensor  # [batch], int32: of its own

    @property
    def own(self) -> Cache:
        k, v = (tensor[self.prefix :].unflatten(0, (self.lengths.numel(), -1)) for tensor in (self.k, self.v))
        return Cache(k, v, self.lengths)

    def copied(self) -> Cache:
        """The same where each sequence has a copy of the prefix."""
        copies = (self.lengths.numel(), -1, -1, -1)
        pairs = ((self.k, self.own.k), (self.v, self.own.v))
        k, v = (torch.cat((whole[: self.prefix].expand(copies), own), dim=1) for whole, own in pairs)
        return Cache(k, v, self.lengths + self.prefix)


@dataclass(frozen=True)
class States:
    """What attention over parts of the keys gave, LSEs to base 2."""

    out: torch.Tensor  # [rows, states, heads, dim]
    lse: torch.Tensor  # [rows, states, heads], float32


def _prefix(cache: SharedCache) -> capi.SharedPrefix:
    return capi.SharedPrefix(k=_tensor(cache.k), v=_tensor(cache.v), len=cache.prefix)


def _lse(lse: torch.Tensor) -> capi.Tensor:
    """A [rows, heads] tensor."""
    return capi.Tensor(lse.data_ptr(), capi.Strides(0, *lse.stride()))


def _workspace(size: int, q: torch.Tensor) -> torch.Tensor:
    """Zeroed, as it must be before the first call."""
    return torch.zeros(max(size, 16), dtype=torch.uint8, device=q.device)


def _decode_config(q: torch.Tensor, cache: Cache, causal: bool, rows: int) -> capi.AttentionConfig:
    return _config(q, cache.v, causal=causal, paged=int(cache.table is not None), decode_rows=rows)


def _decode_args(q: torch.Tensor, cache: Cache, out: torch.Tensor) -> capi.DecodeArgs:
    args = capi.DecodeArgs(
        q=_tensor(q),
        k_cache=_tensor(cache.k),
        v_cache=_tensor(cache.v),
        out=_tensor(out),
        batch=q.shape[0],
        len_q=q.shape[1],
        max_len_k=cache.most,
        heads_q=q.shape[2],
        heads_kv=cache.k.shape[2],
        lengths=cache.lengths.data_ptr(),
    )
    if cache.table is not None:
        args.page_table = cache.table.data_ptr()
        args.page_table_stride = cache.table.stride(0)
        args.page_size = cache.k.shape[1]
    return args


def _stream() -> int:
    return torch.cuda.current_stream().cuda_stream


class Kiln:
    """One Runtime for the current device. All tensors are [batch, length, heads, dim]."""

    def __init__(self, library: Path) -> None:
        self._runtime = capi.Runtime(library)
        self.version = self._runtime.version

    def forward(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        out: torch.Tensor,
        *,
        causal: bool,
        window: int | None = None,
    ) -> None:
        """`window`: keys visible before a query's own."""
        args = capi.ForwardArgs(
            q=_tensor(q),
            k=_tensor(k),
            v=_tensor(v),
            out=_tensor(out),
            batch=q.shape[0],
            len_q=q.shape[1],
            len_k=k.shape[1],
            heads_q=q.shape[2],
            heads_kv=k.shape[2],
        )
        kind = capi.WINDOW_NONE
        if window is not None:
            kind, args.window_left = capi.WINDOW_SLIDING, window
        self._runtime.launch_forward(_config(q, v, causal=causal, window=kind), _stream(), args)

    def forward_packed(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        out: torch.Tensor,
        sums: torch.Tensor,
        most: int,
        *,
        causal: bool,
    ) -> None:
        """[total, heads, dim] tensors; sequence b has rows sums[b] to sums[b + 1], `most` at most."""
        args = capi.ForwardArgs(
            q=_tensor(q),
            k=_tensor(k),
            v=_tensor(v),
            out=_tensor(out),
            batch=sums.numel() - 1,
            len_q=most,
            len_k=most,
            heads_q=q.shape[1],
            heads_kv=k.shape[1],
            cu_seqlens_q=sums.data_ptr(),
            cu_seqlens_k=sums.data_ptr(),
            total_q=q.shape[0],
        )
        self._runtime.launch_forward(_config(q, v, causal=causal, ragged=1), _stream(), args)

    def decode_workspace(
        self, q: torch.Tensor, cache: Cache, out: torch.Tensor, *, causal: bool = False, rows: int = 16
    ) -> torch.Tensor:
        """What decode() needs for such a call."""
        size = self._runtime.decode_workspace_bytes(_decode_config(q, cache, causal, rows), _decode_args(q, cache, out))
        return _workspace(size, q)

    def decode(
        self,
        q: torch.Tensor,
        cache: Cache,
        out: torch.Tensor,
        *,
        workspace: torch.Tensor,
        causal: bool = False,
        rows: int = 16,
    ) -> None:
        """`rows`: the config's decode_rows. q holds each sequence's new tokens."""
        args = _decode_args(q, cache, out)
        args.workspace = workspace.data_ptr()
        args.workspace_bytes = workspace.numel()
        self._runtime.launch_decode(_decode_config(q, cache, causal, rows), _stream(), args)

    def shared_prefix_workspace(self, q: torch.Tensor, cache: SharedCache, out: torch.Tensor) -> torch.Tensor:
        """What shared_prefix() needs for such a call."""
        own = cache.own
        config, args = _decode_config(q, own, causal=False, rows=16), _decode_args(q, own, out)
        return _workspace(self._runtime.shared_prefix_workspace_bytes(config, args, _prefix(cache)), q)

    def shared_prefix(self, q: torch.Tensor, cache: SharedCache, out: torch.Tensor, *, workspace: torch.Tensor) -> None:
        """decode() of one new token of each sequence."""
        own = cache.own
        args = _decode_args(q, own, out)
        args.workspace = workspace.data_ptr()
        args.workspace_bytes = workspace.numel()
        config = _decode_config(q, own, causal=False, rows=16)
        self._runtime.launch_shared_prefix(config, _stream(), args, _prefix(cache))

    def merge(self, states: States, out: torch.Tensor, lse: torch.Tensor) -> None:
        """Into out [rows, heads, dim] and lse [rows, heads]."""
        rows, count, heads, dim = states.out.shape
        args = capi.MergeArgs(
            states=tuple(capi.PartialState(_tensor(states.out[:, i]), _lse(states.lse[:, i])) for i in range(count)),
            out=_tensor(out),
            num_states=count,
            batch=1,
            len=rows,
            heads=heads,
            lse=_lse(lse),
            lse_base2=1,
        )
        config = capi.MergeConfig(dtype=_DTYPES[states.out.dtype], out_dtype=_DTYPES[out.dtype], head_dim_v=dim)
        self._runtime.launch_merge(config, _stream(), args)
