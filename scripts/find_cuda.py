"""Finds an NVRTC of CUDA 12.9 or newer that compiles, and the CUDA headers, where Kiln itself looks for them.

Prints both paths. Exits with 1, saying what it tried, if either is missing.
"""

import ctypes
import ctypes.util
import os
import pathlib
import re
import sys
import sysconfig

LEAST_VERSION = (12, 9)
ROOT = pathlib.Path(__file__).resolve().parent.parent


def cuda_homes() -> list[pathlib.Path]:
    """Folders with include/ and lib/ of CUDA, or of a part of it, in the order of preference."""
    homes = [pathlib.Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    homes.append(pathlib.Path("/usr/local/cuda"))
    active = pathlib.Path(sysconfig.get_path("purelib"))
    for folder in [*sorted(ROOT.glob(".venv/lib/python3*/site-packages")), active]:
        homes += [folder / "nvidia" / part for part in ("cu13", "cuda_nvrtc", "cuda_runtime")]
    return homes


def nvrtc_candidates() -> list[str]:
    found = [
        str(path)
        for home in cuda_homes()
        for folder in ("lib64", "lib")
        for path in sorted(home.glob(f"{folder}/libnvrtc.so.1[0-9]"), reverse=True)
    ]
    loaders = ctypes.util.find_library("nvrtc")
    return found + ([loaders] if loaders else [])


def why_unusable(path: str) -> str | None:
    """Compiles an empty kernel."""
    try:
        nvrtc = ctypes.CDLL(path)
    except OSError as error:
        return str(error)
    major, minor = ctypes.c_int(), ctypes.c_int()
    if nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)) != 0:
        return "nvrtcVersion failed"
    if (major.value, minor.value) < LEAST_VERSION:
        return f"version {major.value}.{minor.value} is older than {LEAST_VERSION[0]}.{LEAST_VERSION[1]}"
    # NVRTC opens its builtins by their bare name, which finds nothing in a wheel unless they are open already.
    builtins = pathlib.Path(path).with_name(f"libnvrtc-builtins.so.{major.value}.{minor.value}")
    if builtins.exists():
        ctypes.CDLL(str(builtins))
    program = ctypes.c_void_p()
    source = b'extern "C" __global__ void probe() {}'
    if nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"probe.cu", 0, None, None) != 0:
        return "nvrtcCreateProgram failed"
    options = (ctypes.c_char_p * 2)(b"--gpu-architecture=sm_80", b"--no-cache")
    result = nvrtc.nvrtcCompileProgram(program, len(options), options)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return f"compiling an empty kernel failed with code {result}" if result != 0 else None


def header_version(path: pathlib.Path) -> tuple[int, int]:
    match = re.search(r"^#define CUDA_VERSION (\d+)", path.read_text(errors="replace"), re.MULTILINE)
    return (int(match[1]) // 1000, int(match[1]) % 1000 // 10) if match else (0, 0)


def main() -> int:
    nvrtc = None
    for candidate in nvrtc_candidates():
        why = why_unusable(candidate)
        if why is None:
            nvrtc = candidate
            break
        print(f"{candidate}: {why}", file=sys.stderr)

    includes = [home / "include" for home in cuda_homes()] + [pathlib.Path("/usr/include")]
    driver = next((d for d in includes if (d / "cuda.h").is_file()), None)
    headers = driver and header_version(driver / "cuda.h") >= LEAST_VERSION
    headers = headers and any((d / "nvrtc.h").is_file() for d in includes)

    print(f"NVRTC: {nvrtc or 'none found'}")
    print(f"CUDA headers: {driver if headers else 'none found'}")
    return 0 if nvrtc and headers else 1


if __name__ == "__main__":
    sys.exit(main())
