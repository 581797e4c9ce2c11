#!/usr/bin/env bash
# Format, lint, and the host tests under sanitizers.
#
# usage: check.sh [--changed] [format|lint|asan|tsan ...]    all four unless named
#   --changed   lint only sources that differ from the last commit
# KILN_JOBS (all cores) may be set.
set -euo pipefail
source "$(dirname "$0")/common.sh"

changed=false
if [[ ${1:-} == --changed ]]; then
  changed=true
  shift
fi
parts=("$@")
((${#parts[@]} > 0)) || parts=(format lint asan tsan)

sources() {  # tracked and new files of these patterns, less those deleted
  git ls-files --cached --others --exclude-standard -- "$@" | while read -r file; do
    if [[ -f $file ]]; then echo "$file"; fi
  done
}

check_format() {
  local cpp python shell
  mapfile -t cpp < <(sources 'include/*.h' 'include/*.hpp' '*.cpp' 'src/*.hpp' 'tests/*.hpp' 'bench/*.hpp' 'tests/*.c' 'tests/*.h')
  mapfile -t python < <(sources '*.py')
  mapfile -t shell < <(sources '*.sh' .ci/run)
  step clang-format clang-format-19 --dry-run -Werror "${cpp[@]}"
  step ruff scripts/ruff.sh check "${python[@]}"
  step ruff-format scripts/ruff.sh format --check "${python[@]}"
  step shellcheck shellcheck "${shell[@]}"
}

# Everything in the compile commands, less what is generated; or what changed of it. Each source by itself, which also shows
# that it includes what it needs.
check_lint() {
  step lint-configure configure build/lint -DCMAKE_BUILD_TYPE=Release -DCMAKE_UNITY_BUILD=OFF
  local files=("$root/(src|tests|bench)/.*\.cpp$")
  if $changed; then
    mapfile -t files < <({ git diff --name-only HEAD; git ls-files --others --exclude-standard; } |
      grep -E '^(src|tests|bench)/.*\.cpp$' | sed "s|^|^$root/|; s|\$|\$|")
  fi
  if ((${#files[@]} > 0)); then
    scripts/lint_commands.py build/lint build/lint/commands
    step clang-tidy .venv/bin/run-clang-tidy.py -clang-tidy-binary .venv/bin/clang-tidy -quiet -j "$jobs" -p build/lint/commands \
      -warnings-as-errors='*' "${files[@]}"
  fi
}

# sanitized PRESET LABELS TARGET...: builds targets in build/PRESET and runs the tests with these labels, less the cover
# that only makes NVRTC compile once more what the other tests have compiled.
sanitized() {
  local preset=$1 labels=$2
  local -a fixed_addresses=()
  shift 2
  # ThreadSanitizer's shadow memory does not fit every random layout of addresses.
  if setarch "$(uname -m)" -R true 2>/dev/null; then
    fixed_addresses=(setarch "$(uname -m)" -R)
  fi
  step "$preset-configure" configure "build/$preset" --preset "$preset" -DKILN_BUILD_BENCH=OFF
  step "$preset-build" cmake --build "build/$preset" -j "$jobs" --target "$@"
  step "$preset-tests" "${fixed_addresses[@]}" ctest --test-dir "build/$preset" -j "$jobs" --output-on-failure \
    --no-tests=error -L "$labels" -LE '^(gpu|kernels)$'
  grep 'tests passed' "$step_logs/$preset-tests.log"
  awk '/^\[==========\] [0-9]+ tests? from .* ran/ { cases += $2 } END { print cases " cases of GoogleTest" }' \
    "build/$preset/Testing/Temporary/LastTest.log"
}

check_asan() {
  export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1
  sanitized asan . host_tests
}

check_tsan() {
  export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
  sanitized tsan '^(cache|api|c_api|jit|cuda)$' test_cache test_api test_c_api test_c_program test_jit test_cuda
}

step setup scripts/setup.sh --check
show_cuda
for part in "${parts[@]}"; do
  case $part in
    format | lint | asan | tsan) "check_$part" ;;
    *) die "usage: check.sh [--changed] [format|lint|asan|tsan ...]" ;;
  esac
done
