#!/usr/bin/env bash
# Sets up, builds, and shows what Kiln does. With a GPU: attention checked against a float64 reference and timed.
# Without: the same kernels compiled for every architecture, with what they use.
#
# KILN_BUILD_DIR (build/release) and KILN_JOBS (all cores) may be set.
set -euo pipefail
source "$(dirname "$0")/common.sh"

step setup scripts/setup.sh
show_cuda
step configure configure "$build" -DCMAKE_BUILD_TYPE=Release
step build cmake --build "$build" -j "$jobs" --target kiln_tool

show() {
  printf '\n$ kiln %s\n' "$*"
  "$build/kiln" "$@"
}

gpu=true
show doctor || gpu=false
if $gpu; then
  show run --kind forward --causal --heads 32/8 --len-q 4k
  show run --kind decode --heads 32/8 --len-k 16k --batch 8
else
  show compile --kind forward,decode --causal --arch all
fi
