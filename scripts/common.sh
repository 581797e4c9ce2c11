# shellcheck shell=bash disable=SC2034
# Sourced by the other scripts: where things are, and how steps are run and reported.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit
build=${KILN_BUILD_DIR:-build/release}
jobs=${KILN_JOBS:-$(nproc)}
unity=${KILN_UNITY:-OFF}
export -n KILN_BUILD_DIR KILN_JOBS KILN_UNITY  # the library warns of KILN_* variables that it does not know
step_logs=$(mktemp -d)
trap 'rm -rf "$step_logs"' EXIT

# The library looks at CUDA_HOME and at the active virtual environment: makes what is there visible so,
# and after setup.sh what that fetched.
show_cuda() {
  if [[ -z ${CUDA_HOME:-}${CUDA_PATH:-} && -d /usr/local/cuda ]]; then
    export CUDA_HOME=/usr/local/cuda
  fi
  if [[ ${VIRTUAL_ENV:-} != "$root/.venv" ]] && compgen -G "$root/.venv/lib/python3*/site-packages/nvidia" >/dev/null; then
    export VIRTUAL_ENV=$root/.venv PATH=$root/.venv/bin:$PATH
  fi
}
show_cuda
if [[ -z ${CCACHE_DISABLE:-} ]] && command -v ccache >/dev/null; then
  export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache
  export CCACHE_SLOPPINESS=pch_defines,time_macros  # else it keeps nothing that has precompiled headers
fi

die() {
  echo "error: $*" >&2
  exit 1
}

# step NAME COMMAND...: one line with the time it took; the whole output only if it fails.
step() {
  local name=$1 log start=$SECONDS status=0
  shift
  log=$step_logs/$name.log
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if ((status != 0)); then
    cat "$log"
    printf '%-28s FAILED after %d s (exit %d): %s\n' "$name" $((SECONDS - start)) "$status" "$*"
    return "$status"
  fi
  printf '%-28s ok %5d s\n' "$name" $((SECONDS - start))
}

# configure FOLDER [cmake option...]
configure() {
  local folder=$1
  shift
  cmake -S . -B "$folder" -G Ninja -DCMAKE_EXPORT_COMPILE_COMMANDS=ON "$@"
}
