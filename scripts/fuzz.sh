#!/usr/bin/env bash
# The long run of the fuzz targets: libFuzzer if there is a clang that has it, else tests/fuzz/driver.cpp, under ASan and
# UBSan. Writes bench/results/fuzz.json; inputs that end a target are kept in build/fuzz/findings.
#
# usage: fuzz.sh [--runs N] [--out FOLDER] [TARGET...]    N inputs over all targets (10,000,000)
set -euo pipefail
source "$(dirname "$0")/common.sh"
build=build/fuzz

# The probe asks for C++20 as Kiln uses it, which clang has from 17 on.
find_clang() {
  local clang
  cat >"$step_logs/probe.cpp" <<'PROBE'
template <class T> struct Named { T value; const char* name; };
constexpr auto one = Named{1, "one"};
extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return one.value - 1; }
PROBE
  for clang in clang++-{21,20,19,18,17} clang++; do
    if command -v "$clang" >/dev/null &&
      "$clang" -std=c++20 -fsanitize=fuzzer,address "$step_logs/probe.cpp" -o "$step_logs/probe" 2>/dev/null; then
      echo "$clang"
      return
    fi
  done
}

sanitizers=address,undefined
options=(-DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG='-O1 -g1' -DKILN_BUILD_BENCH=OFF -DKILN_BUILD_TOOL=OFF)
clang=$(find_clang)
if [[ -n $clang ]]; then
  # Warnings are for the compilers that the project is built with.
  options+=(-DCMAKE_CXX_COMPILER="$clang" -DCMAKE_C_COMPILER="${clang/++/}" -DKILN_LIBFUZZER=ON
            -DCMAKE_COMPILE_WARNING_AS_ERROR=OFF)
  sanitizers+=,fuzzer-no-link
fi
options+=("-DKILN_SANITIZE=$sanitizers")
step configure configure "$build" "${options[@]}"
step build cmake --build "$build" -j "$jobs" --target fuzz_targets
exec python3 bench/run_fuzz.py --build "$build" "$@"
