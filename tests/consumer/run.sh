#!/usr/bin/env bash
# Installs Kiln into an empty prefix, then builds and runs a consumer in each way that the README names.
# usage: run.sh SOURCE_DIR BUILD_DIR VERSION
set -euo pipefail
source_dir=$1 build_dir=$2 version=$3
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
fake_cuda=$build_dir/fake_cuda/libcuda.so.1 nvrtc_shim=$build_dir/shim/libnvrtc.so.13
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix

die() {
  echo "$*" >&2
  exit 1
}

expect() {  # expect WAY PROGRAM
  local output
  output=$(LD_LIBRARY_PATH=$library_dir "$2")
  if [[ $output != "$version $version invalid_argument" ]]; then
    echo "$1: printed '$output'" >&2
    exit 1
  fi
  echo "$1: $output"
}

quietly() {
  "$@" >"$work/log" 2>&1 || {
    cat "$work/log"
    exit 1
  }
}

with_cmake() {  # with_cmake WAY [cmake option...]
  local way=$1
  shift
  quietly cmake -S "$here" -B "$work/$way" -G Ninja -DKILN_FROM="$way" -DKILN_WANTED="${version%.*}" "$@"
  quietly cmake --build "$work/$way"
  expect "$way" "$work/$way/consumer"
  if [[ -x $work/$way/neighbours && -e $fake_cuda && -e $nvrtc_shim ]]; then
    NVRTC_SHIM_FAKE=1 LD_LIBRARY_PATH=$library_dir quietly "$work/$way/neighbours" "$fake_cuda" "$nvrtc_shim"
    needed=$(readelf -d "$work/$way/neighbours")
    for library in fmt spdlog crypto; do  # else it would have proven nothing
      [[ $needed == *"lib$library.so"* ]] || die "$way: neighbours has no lib$library of its own"
    done
    echo "$way: works beside the program's own fmt, spdlog and libcrypto"
  fi
}

cmake --install "$build_dir" --prefix "$work/staged" >/dev/null
mv "$work/staged" "$prefix"  # nothing installed may know where it was first
library_dir=$(dirname "$(find "$prefix" -name libkiln.so)")

with_cmake package -DCMAKE_PREFIX_PATH="$prefix"
with_cmake static-package -DCMAKE_PREFIX_PATH="$prefix"
# What is only linked and started is not optimized. A compiler cache finds again what does not stand on headers precompiled
# in a temporary folder; without one those save half of the time.
subdirectory=(-DKILN_SOURCE="$source_dir" -DCMAKE_COMPILE_WARNING_AS_ERROR=ON)
if [[ -n ${CMAKE_CXX_COMPILER_LAUNCHER:-} ]]; then
  subdirectory+=(-DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON)
fi
with_cmake subdirectory "${subdirectory[@]}"

# The example for engine authors is a consumer too; without the driver it can't be started.
if [[ -e ${CUDA_HOME:-/usr/local/cuda}/lib64/stubs/libcuda.so ]]; then
  quietly cmake -S "$source_dir/examples/embed" -B "$work/embed" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_CXX_FLAGS="-Wall -Wextra -Werror"
  quietly cmake --build "$work/embed"
  echo "examples/embed: builds"
fi

# The example that brings its kernels along, with nothing to compile by when it runs.
if [[ -x $prefix/bin/kiln && -e $fake_cuda && -e $nvrtc_shim ]]; then
  export NVRTC_SHIM_FAKE=1 KILN_NVRTC_PATH=$nvrtc_shim KILN_CACHE_DIR=
  quietly cmake -S "$source_dir/examples/packed" -B "$work/packed" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_CXX_FLAGS="-Wall -Wextra -Werror"
  quietly cmake --build "$work/packed"
  output=$(KILN_NVRTC_PATH=/no/nvrtc KILN_CUDA_PATH=$fake_cuda LD_LIBRARY_PATH=$library_dir "$work/packed/packed")
  [[ $(grep -c ': built in$' <<<"$output") == 2 ]] || die "examples/packed: printed '$output'"
  unset NVRTC_SHIM_FAKE KILN_NVRTC_PATH KILN_CACHE_DIR
  echo "examples/packed: its kernels are built in"

  # The same pack in a project without C++.
  mkdir "$work/packed-c"
  cat >"$work/packed-c/CMakeLists.txt" <<PROJECT
cmake_minimum_required(VERSION 3.25)
project(packed_c LANGUAGES C)
find_package(kiln REQUIRED)
add_executable(packed_c main.c)
target_link_libraries(packed_c PRIVATE kiln::kiln)
kiln_embed_pack(packed_c kernels $work/packed/kernels.kilnpack)
PROJECT
  cat >"$work/packed-c/main.c" <<'PROGRAM'
#include <kiln/kiln.h>
#include <stdio.h>
extern const unsigned char kernels[], kernels_end[];
int main(void) {
  kiln_options* options = NULL;
  const size_t bytes = (size_t)(kernels_end - kernels);
  if (kiln_options_create(&options) || kiln_options_add_pack(options, kernels, bytes)) return 1;
  kiln_options_destroy(options);
  return fwrite(kernels, 1, bytes, stdout) != bytes;
}
PROGRAM
  quietly cmake -S "$work/packed-c" -B "$work/packed-c/build" -G Ninja -DCMAKE_PREFIX_PATH="$prefix"
  quietly cmake --build "$work/packed-c/build"
  LD_LIBRARY_PATH=$library_dir "$work/packed-c/build/packed_c" | cmp - "$work/packed/kernels.kilnpack"
  echo "kiln_embed_pack: the same bytes in a C project"
fi

export PKG_CONFIG_PATH=$library_dir/pkgconfig
cxx=${CXX:-c++}
read -ra flags < <(pkg-config --cflags kiln fmt)
read -ra shared < <(pkg-config --libs kiln fmt)
read -ra static < <(pkg-config --static --libs kiln fmt)
[[ $(pkg-config --modversion kiln) == "$version" ]]
"$cxx" -std=c++20 "${flags[@]}" "$here/main.cpp" -o "$work/pc-shared" "${shared[@]}"
expect pkg-config "$work/pc-shared"
read -ra kiln_alone < <(pkg-config --cflags --libs kiln)
"${CC:-cc}" -std=c99 -Wall -Wextra -Wpedantic -Werror "$here/main.c" -o "$work/pc-c" "${kiln_alone[@]}"
expect 'pkg-config from C' "$work/pc-c"
rm "$library_dir"/libkiln.so*  # now -lkiln can only mean the static one
"$cxx" -std=c++20 "${flags[@]}" "$here/main.cpp" -o "$work/pc-static" "${static[@]}"
expect static-pkg-config "$work/pc-static"

if [[ -x $prefix/bin/kiln ]]; then
  "$prefix/bin/kiln" --version
fi
