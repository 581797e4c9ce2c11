#!/usr/bin/env bash
# Runs the GPU suite, then a small cover of it under compute-sanitizer's memcheck and racecheck, and writes down in
# tests/gpu/record.json what passed, where, and on which sources.
#
# usage: gpu_test.sh              build, run, write the record
#        gpu_test.sh --no-build   the same with what $KILN_BUILD_DIR (build/release) holds, brought from elsewhere
#        gpu_test.sh --check      exit 1 unless the record is of these sources and all in it passed; needs no GPU
set -euo pipefail
source "$(dirname "$0")/common.sh"

case ${1:-} in
  --check) exec python3 scripts/gpu_record.py check ;;
  --no-build | '') ;;
  *) die "usage: gpu_test.sh [--no-build | --check]" ;;
esac

if [[ ${1:-} != --no-build ]]; then
  step setup scripts/setup.sh
  show_cuda
  step configure configure "$build" -DCMAKE_BUILD_TYPE=Release
  step build cmake --build "$build" -j "$jobs" --target test_gpu kiln_tool
fi
suite=$build/tests/gpu/test_gpu
[[ -x $suite && -x $build/kiln ]] || die "$suite or $build/kiln is not built"

"$build/kiln" --json doctor >"$step_logs/doctor.json" || die "this machine can't run the suite: see kiln doctor"

failed=0
step gpu-suite "$suite" --gtest_output="json:$step_logs/suite.json" || failed=1
[[ -f $step_logs/suite.json ]] || die "the suite ended without a result"

sanitizer=$(command -v compute-sanitizer || echo "${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer")
sanitized=()
if [[ -x $sanitizer ]]; then
  for tool in memcheck racecheck; do
    if step "$tool" "$sanitizer" --tool "$tool" --error-exitcode 9 "$suite" --gtest_filter='*Sanitizer*'; then
      sanitized+=("--sanitizer" "$tool=passed")
    else
      sanitized+=("--sanitizer" "$tool=failed")
      failed=1
    fi
  done
else
  echo "no compute-sanitizer here: the record will say so"
fi

python3 scripts/gpu_record.py write --suite "$step_logs/suite.json" --doctor "$step_logs/doctor.json" "${sanitized[@]}"
exit $failed
