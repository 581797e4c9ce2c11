"""bench/kiln_capi.py is kiln.h: its structs and constants as a C program sees them, and calls as the driver does.

usage: kiln_capi_test.py C_COMPILER LIBKILN_SO FAKE_LIBCUDA NVRTC_STAND_IN
"""

import ctypes
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import kiln_capi as capi  # noqa: E402

COMPILER, LIBRARY, FAKE_CUDA, NVRTC = sys.argv[1:5]

STRUCTS = {
    "kiln_strides": capi.Strides,
    "kiln_input": capi.Tensor,
    "kiln_output": capi.Tensor,
    "kiln_attention_config": capi.AttentionConfig,
    "kiln_forward_args": capi.ForwardArgs,
    "kiln_decode_args": capi.DecodeArgs,
    "kiln_shared_prefix": capi.SharedPrefix,
    "kiln_lse_input": capi.Tensor,
    "kiln_lse_output": capi.Tensor,
    "kiln_partial_state": capi.PartialState,
    "kiln_merge_config": capi.MergeConfig,
    "kiln_merge_args": capi.MergeArgs,
}
CONSTANTS = (
    *("F16", "BF16", "F32", "BOTTOM_RIGHT", "TOP_LEFT"),
    *("WINDOW_NONE", "WINDOW_SLIDING", "WINDOW_FIXED"),
    *("BIAS_NONE", "BIAS_ADDITIVE", "BIAS_MASK"),
    "MOST_MERGED_STATES",
)
BODY = """#include <kiln/kiln.h>
#include <stdio.h>
#define SAY(name, value) printf("%s %llu\\n", name, (unsigned long long)(value))
#define INIT(type) do { \\
  const type value = type##_init(); \\
  size_t i = 0; \\
  printf(#type "_init "); \\
  for (i = 0; i < sizeof(value); ++i) printf("%02x", ((const unsigned char*)&value)[i]); \\
  printf("\\n"); \\
} while (0)
int main(void) {
"""


def program() -> str:
    """Prints what the header says of everything that the module has."""
    lines = [f'SAY("{name}", KILN_{name});' for name in CONSTANTS]
    for name, struct in STRUCTS.items():
        lines.append(f'SAY("{name}", sizeof({name}));')
        for member, *_ in struct._fields_:
            lines.append(f'SAY("{name}.{member}", offsetof({name}, {member}));')
            lines.append(f'SAY("{name}.{member} bytes", sizeof((({name}*)0)->{member}));')
        if issubclass(struct, capi._Versioned):
            lines.append(f"INIT({name});")
    return BODY + "\n".join(lines) + "\nreturn 0;\n}\n"


def as_the_module_has_it() -> dict[str, str]:
    said = {name: str(getattr(capi, name)) for name in CONSTANTS}
    for name, struct in STRUCTS.items():
        said[name] = str(ctypes.sizeof(struct))
        for member, *_ in struct._fields_:
            field = getattr(struct, member)
            said[f"{name}.{member}"] = str(field.offset)
            said[f"{name}.{member} bytes"] = str(field.size)
        if issubclass(struct, capi._Versioned):
            said[f"{name}_init"] = bytes(struct()).hex()
    return said


class Header(unittest.TestCase):
    def test_says_what_the_module_says(self):
        self.maxDiff = None
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder, "layout.c")
            source.write_text(program())
            layout = source.with_suffix("")
            subprocess.run([*COMPILER.split(";"), "-I", ROOT / "include", source, "-o", layout], check=True)
            printed = subprocess.run([layout], capture_output=True, text=True, check=True).stdout
        said = dict(line.rsplit(" ", 1) for line in printed.splitlines())
        self.assertEqual(said, as_the_module_has_it())


class Calls(unittest.TestCase):
    def setUp(self):
        os.environ |= {"KILN_CUDA_PATH": FAKE_CUDA, "KILN_NVRTC_PATH": NVRTC, "KILN_CACHE_DIR": ""}
        os.environ["NVRTC_SHIM_FAKE"] = "1"
        self.fake = ctypes.CDLL(FAKE_CUDA)
        self.fake.fake_cuda_reset()
        self.fake.fake_cuda_context_create.restype = ctypes.c_void_p
        self.fake.fake_cuda_context_set_current.argtypes = (ctypes.c_void_p,)
        self.fake.fake_cuda_context_set_current(self.fake.fake_cuda_context_create(0))
        self.runtime = capi.Runtime(pathlib.Path(LIBRARY))
        self.addCleanup(self.runtime.close)

    def launches(self) -> int:
        return self.fake.fake_cuda_launch_count()

    def test_forward_reaches_the_driver(self):
        q = capi.Tensor(0x10000, capi.Strides(64 * 8 * 128, 8 * 128, 128))
        args = capi.ForwardArgs(q=q, k=q, v=q, out=q, batch=2, len_q=64, len_k=64, heads_q=8, heads_kv=8)
        self.runtime.launch_forward(capi.AttentionConfig(causal=1), None, args)
        self.assertEqual(self.launches(), 1)
        args.heads_kv = 3
        with self.assertRaisesRegex(capi.KilnError, "heads_q 8 is not a multiple of heads_kv 3") as caught:
            self.runtime.launch_forward(capi.AttentionConfig(), None, args)
        self.assertEqual(caught.exception.status, 1)

    def test_decode_reaches_the_driver(self):
        q = capi.Tensor(0x10000, capi.Strides(8 * 128, 8 * 128, 128))
        kv = capi.Tensor(0x20000, capi.Strides(8192 * 2 * 128, 2 * 128, 128))
        args = capi.DecodeArgs(q=q, k_cache=kv, v_cache=kv, out=q, batch=1, max_len_k=8192, heads_q=8, heads_kv=2)
        args.workspace_bytes = self.runtime.decode_workspace_bytes(capi.AttentionConfig(), args)
        self.assertGreater(args.workspace_bytes, 0)
        args.workspace = 0x100000
        self.runtime.launch_decode(capi.AttentionConfig(), None, args)
        self.assertEqual(self.launches(), 1)
        args.workspace_bytes -= 16
        with self.assertRaisesRegex(capi.KilnError, "workspace_bytes is"):
            self.runtime.launch_decode(capi.AttentionConfig(), None, args)

    def test_a_shared_prefix_reaches_the_driver(self):
        q = capi.Tensor(0x10000, capi.Strides(8 * 128, 8 * 128, 128))
        kv = capi.Tensor(0x20000, capi.Strides(512 * 2 * 128, 2 * 128, 128))
        args = capi.DecodeArgs(q=q, k_cache=kv, v_cache=kv, out=q, batch=3, max_len_k=512, heads_q=8, heads_kv=2)
        prefix = capi.SharedPrefix(k=kv, v=kv, len=8192)
        args.workspace_bytes = self.runtime.shared_prefix_workspace_bytes(capi.AttentionConfig(), args, prefix)
        self.assertGreater(args.workspace_bytes, 0)
        args.workspace = 0x100000
        self.runtime.launch_shared_prefix(capi.AttentionConfig(), None, args, prefix)
        self.assertEqual(self.launches(), 3)
        with self.assertRaisesRegex(capi.KilnError, "alibi is not supported with a shared prefix") as caught:
            self.runtime.launch_shared_prefix(capi.AttentionConfig(alibi=1), None, args, prefix)
        self.assertEqual(caught.exception.status, 2)

    def test_a_merge_reaches_the_driver(self):
        out = capi.Tensor(0x10000, capi.Strides(0, 8 * 128, 128))
        state = capi.PartialState(out, capi.Tensor(0x20000, capi.Strides(0, 8, 1)))
        args = capi.MergeArgs(states=(state, state), out=out, num_states=2, batch=1, len=4, heads=8)
        self.runtime.launch_merge(capi.MergeConfig(), None, args)
        self.assertEqual(self.launches(), 1)
        args.num_states = 3
        with self.assertRaisesRegex(capi.KilnError, r"states\[2\].out is null"):
            self.runtime.launch_merge(capi.MergeConfig(), None, args)

    def test_knows_the_version(self):
        self.assertRegex(self.runtime.version, r"^\d+\.\d+\.\d+$")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
