"""kiln.h by way of ctypes: its structs, its calls, and its errors as exceptions. Knows nothing of torch.

A new member of a struct is a line in its `_fields_`, and one in its `_defaults_` unless its default is 0. Both are
compared with the header by tests/scripts/kiln_capi_test.py.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

F16, BF16, F32 = range(3)
BOTTOM_RIGHT, TOP_LEFT = range(2)
WINDOW_NONE, WINDOW_SLIDING, WINDOW_FIXED = range(3)
BIAS_NONE, BIAS_ADDITIVE, BIAS_MASK = range(3)
MOST_MERGED_STATES = 16

_INT = ctypes.c_int32
_POINTER = ctypes.c_void_p


class KilnError(RuntimeError):
    """What a call that failed had to say; `status` is its kiln_status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Strides(ctypes.Structure):
    _fields_ = (("batch", ctypes.c_int64), ("row", ctypes.c_int64), ("head", ctypes.c_int64))


class Tensor(ctypes.Structure):
    """kiln_input and kiln_output, and the two of an LSE."""

    _fields_ = (("data", _POINTER), ("strides", Strides))


class _Versioned(ctypes.Structure):
    """A struct that begins with its size. Made with the defaults of its _init(), changed by the members given."""

    _defaults_: ClassVar[dict[str, object]] = {}

    def __init__(self, **members: object) -> None:
        super().__init__(struct_size=ctypes.sizeof(self), **{**self._defaults_, **members})


class AttentionConfig(_Versioned):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("dtype", _INT),
        ("head_dim_qk", _INT),
        ("head_dim_v", _INT),
        ("causal", _INT),
        ("alignment", _INT),
        ("window", _INT),
        ("window_left", _INT),
        ("window_right", _INT),
        ("softcap", _INT),
        ("alibi", _INT),
        ("sinks", _INT),
        ("bias", _INT),
        ("ragged", _INT),
        ("paged", _INT),
        ("output_f32", _INT),
        ("allow_tf32", _INT),
        ("decode_rows", _INT),
        ("reserved", _INT),
    )
    _defaults_: ClassVar = {
        "dtype": BF16,
        "head_dim_qk": 128,
        "head_dim_v": 128,
        "window_left": -1,
        "window_right": -1,
        "decode_rows": 16,
    }


class ForwardArgs(_Versioned):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("q", Tensor),
        ("k", Tensor),
        ("v", Tensor),
        ("out", Tensor),
        ("batch", _INT),
        ("len_q", _INT),
        ("len_k", _INT),
        ("heads_q", _INT),
        ("heads_kv", _INT),
        ("reserved", _INT),
        ("lse", _POINTER),
        ("has_scale", _INT),
        ("scale", ctypes.c_float),
        ("window_left", _INT),
        ("window_right", _INT),
        ("lse_base2", _INT),
        ("softcap", ctypes.c_float),
        ("alibi_slopes", _POINTER),
        ("alibi_batch_stride", ctypes.c_int64),
        ("sinks", _POINTER),
        ("bias", _POINTER),
        ("bias_strides", Strides),
        ("cu_seqlens_q", _POINTER),
        ("cu_seqlens_k", _POINTER),
        ("seqused_q", _POINTER),
        ("seqused_k", _POINTER),
        ("page_table", _POINTER),
        ("page_table_stride", ctypes.c_int64),
        ("page_size", _INT),
        ("total_q", _INT),
    )
    _defaults_: ClassVar = {"window_left": -1, "window_right": -1}


class DecodeArgs(_Versioned):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("q", Tensor),
        ("k_cache", Tensor),
        ("v_cache", Tensor),
        ("out", Tensor),
        ("batch", _INT),
        ("max_len_k", _INT),
        ("heads_q", _INT),
        ("heads_kv", _INT),
        ("lse", _POINTER),
        ("lengths", _POINTER),
        ("has_scale", _INT),
        ("scale", ctypes.c_float),
        ("window_left", _INT),
        ("num_splits", _INT),
        ("workspace", _POINTER),
        ("workspace_bytes", ctypes.c_size_t),
        ("len_q", _INT),
        ("split_size", _INT),
        ("window_right", _INT),
        ("lse_base2", _INT),
        ("alibi_slopes", _POINTER),
        ("alibi_batch_stride", ctypes.c_int64),
        ("sinks", _POINTER),
        ("bias", _POINTER),
        ("bias_strides", Strides),
        ("tree_words", _POINTER),
        ("tree_batch_stride", ctypes.c_int64),
        ("tree_row_stride", ctypes.c_int64),
        ("cu_seqlens_q", _POINTER),
        ("seqused_q", _POINTER),
        ("cache_rows", _POINTER),
        ("left_padding", _POINTER),
        ("page_table", _POINTER),
        ("page_table_stride", ctypes.c_int64),
        ("page_indptr", _POINTER),
        ("last_page_len", _POINTER),
        ("page_size", _INT),
        ("total_q", _INT),
        ("softcap", ctypes.c_float),
        ("reserved", _INT),
    )
    _defaults_: ClassVar = {"len_q": 1, "window_left": -1, "window_right": -1}


class SharedPrefix(_Versioned):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("k", Tensor),
        ("v", Tensor),
        ("len", _INT),
        ("reserved", _INT),
        ("length", _POINTER),
        ("page_table", _POINTER),
    )


class PartialState(ctypes.Structure):
    _fields_ = (("out", Tensor), ("lse", Tensor))


class MergeConfig(_Versioned):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("dtype", _INT),
        ("out_dtype", _INT),
        ("head_dim_v", _INT),
        ("reserved", _INT),
    )
    _defaults_: ClassVar = {"dtype": BF16, "out_dtype": BF16, "head_dim_v": 128}


class MergeArgs(_Versioned):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("states", PartialState * MOST_MERGED_STATES),
        ("out", Tensor),
        ("num_states", _INT),
        ("batch", _INT),
        ("len", _INT),
        ("heads", _INT),
        ("lse", Tensor),
        ("lse_base2", _INT),
        ("reserved", _INT),
    )


_CONFIG = ctypes.POINTER(AttentionConfig)
_FORWARD = ctypes.POINTER(ForwardArgs)
_DECODE = ctypes.POINTER(DecodeArgs)
_PREFIX = ctypes.POINTER(SharedPrefix)
_MERGE_CONFIG = ctypes.POINTER(MergeConfig)
_MERGE = ctypes.POINTER(MergeArgs)
_SIZE = ctypes.POINTER(ctypes.c_size_t)
_HANDLE = ctypes.POINTER(_POINTER)
# What is called of kiln.h, with its parameters' types: first what returns a status.
_CALLS = {
    "kiln_runtime_create": (_POINTER, _HANDLE),
    "kiln_runtime_launch_forward": (_POINTER, _CONFIG, _POINTER, _FORWARD),
    "kiln_runtime_launch_decode": (_POINTER, _CONFIG, _POINTER, _DECODE),
    "kiln_runtime_launch_merge": (_POINTER, _MERGE_CONFIG, _POINTER, _MERGE),
    "kiln_decode_get": (_POINTER, _CONFIG, _HANDLE),
    "kiln_decode_workspace_bytes": (_POINTER, _DECODE, _SIZE),
    "kiln_shared_prefix_get": (_POINTER, _CONFIG, _HANDLE),
    "kiln_shared_prefix_launch": (_POINTER, _POINTER, _DECODE, _PREFIX),
    "kiln_shared_prefix_workspace_bytes": (_POINTER, _DECODE, _PREFIX, _SIZE),
}
_TEXTS = ("kiln_last_error", "kiln_version")
_ENDS = ("kiln_runtime_destroy", "kiln_decode_release", "kiln_shared_prefix_release")


def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))

    def check(status: int, _function: object, _arguments: object) -> int:
        if status:
            raise KilnError(status, library.kiln_last_error().decode())
        return status

    for name, parameters in _CALLS.items():
        function = getattr(library, name)
        function.argtypes, function.restype, function.errcheck = parameters, _INT, check
    for name in _TEXTS:
        function = getattr(library, name)
        function.argtypes, function.restype = (), ctypes.c_char_p
    for name in _ENDS:
        function = getattr(library, name)
        function.argtypes, function.restype = (_POINTER,), None
    return library


class Runtime:
    """A kiln_runtime with the options of the environment. Streams and data are addresses; a call that fails is a
    KilnError."""

    def __init__(self, library: Path) -> None:
        self._lib = _load(library)
        self._handle = _POINTER()
        self._lib.kiln_runtime_create(None, self._handle)
        self.version: str = self._lib.kiln_version().decode()

    def close(self) -> None:
        self._lib.kiln_runtime_destroy(self._handle)
        self._handle = _POINTER()

    def launch_forward(self, config: AttentionConfig, stream: int | None, args: ForwardArgs) -> None:
        self._lib.kiln_runtime_launch_forward(self._handle, config, stream, args)

    def launch_decode(self, config: AttentionConfig, stream: int | None, args: DecodeArgs) -> None:
        self._lib.kiln_runtime_launch_decode(self._handle, config, stream, args)

    def launch_merge(self, config: MergeConfig, stream: int | None, args: MergeArgs) -> None:
        self._lib.kiln_runtime_launch_merge(self._handle, config, stream, args)

    def decode_workspace_bytes(self, config: AttentionConfig, args: DecodeArgs) -> int:
        kernel, size = _POINTER(), ctypes.c_size_t()
        self._lib.kiln_decode_get(self._handle, config, kernel)
        try:
            self._lib.kiln_decode_workspace_bytes(kernel, args, size)
        finally:
            self._lib.kiln_decode_release(kernel)
        return size.value

    @contextlib.contextmanager
    def _shared_prefix(self, config: AttentionConfig) -> Iterator[_POINTER]:
        """The handle for a config; its kernels stay in the runtime's memory when it is released."""
        decode = _POINTER()
        self._lib.kiln_shared_prefix_get(self._handle, config, decode)
        try:
            yield decode
        finally:
            self._lib.kiln_shared_prefix_release(decode)

    def launch_shared_prefix(
        self, config: AttentionConfig, stream: int | None, args: DecodeArgs, prefix: SharedPrefix
    ) -> None:
        with self._shared_prefix(config) as decode:
            self._lib.kiln_shared_prefix_launch(decode, stream, args, prefix)

    def shared_prefix_workspace_bytes(self, config: AttentionConfig, args: DecodeArgs, prefix: SharedPrefix) -> int:
        size = ctypes.c_size_t()
        with self._shared_prefix(config) as decode:
            self._lib.kiln_shared_prefix_workspace_bytes(decode, args, prefix, size)
        return size.value
