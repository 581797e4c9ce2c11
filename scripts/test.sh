#!/usr/bin/env bash
# Sets up, builds and runs every test that needs no GPU (those that need one skip themselves).
#
# usage: test.sh [ctest option...]
# KILN_BUILD_DIR (build/release), KILN_JOBS (all cores) and KILN_UNITY (OFF; ON compiles several sources as one, which takes
# half the time but builds more after each change) may be set.
set -euo pipefail
source "$(dirname "$0")/common.sh"

step setup scripts/setup.sh
show_cuda
scripts/setup.sh --nvrtc-versions >"$step_logs/nvrtc-versions.log" 2>&1 </dev/null &  # while the build has the cores
fetching=$!
step configure configure "$build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_UNITY_BUILD="$unity"
step build cmake --build "$build" -j "$jobs"
wait "$fetching" || true
grep 'could not be fetched' "$step_logs/nvrtc-versions.log" || true
step tests ctest --test-dir "$build" -j "$jobs" --output-on-failure --no-tests=error "$@"
sed -n '/tests passed/,$p' "$step_logs/tests.log"
