#!/usr/bin/env bash
# Installs what building and testing Kiln needs and this machine lacks: Debian's or Ubuntu's packages, and, where no
# CUDA toolkit is found, NVRTC and the CUDA headers as Python wheels into .venv. Where nothing is missing it needs
# neither root nor a network.
#
# usage: setup.sh [--check | --nvrtc-versions]
#   --check            also what scripts/check.sh needs
#   --nvrtc-versions   only the NVRTC versions that tests/kernels tries, each into a folder of its own under .venv/nvrtc;
#                      what can't be fetched is skipped there
set -euo pipefail
source "$(dirname "$0")/common.sh"

readonly cuda_wheels=('nvidia-cuda-nvrtc==13.0.*' 'nvidia-cuda-runtime==13.0.*')
readonly ruff_version=0.17.5 clang_tidy_version=23.1.4
declare -rA nvrtc_versions=([12.9]='nvidia-cuda-nvrtc-cu12==12.9.*' [13.0]='nvidia-cuda-nvrtc==13.0.*' [newest]=nvidia-cuda-nvrtc)

commands=(g++:g++ cmake:cmake ninja:ninja-build pkg-config:pkg-config git:git python3:python3)
packages=(libspdlog-dev libfmt-dev nlohmann-json3-dev libcli11-dev libssl-dev libgtest-dev libgmock-dev
          libbenchmark-dev)
checking=false
only_nvrtc=false
case ${1:-} in
  '') ;;
  --check)
    checking=true
    commands+=(clang-format-19:clang-format-19 shellcheck:shellcheck)
    ;;
  --nvrtc-versions) only_nvrtc=true ;;
  *) die "usage: setup.sh [--check | --nvrtc-versions]" ;;
esac

missing_packages() {
  local entry package
  for entry in "${commands[@]}"; do
    command -v "${entry%%:*}" >/dev/null || echo "${entry#*:}"
  done
  for package in "${packages[@]}"; do
    dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
  done
}

as_root() {
  if ((EUID == 0)); then
    "$@"
  else
    command -v sudo >/dev/null || die "root is needed to install packages, and there is no sudo: $*"
    sudo "$@"
  fi
}

install_packages() {
  command -v apt-get >/dev/null || die "install these by hand (no apt-get here): $*"
  step apt-update as_root apt-get update
  step "apt-install" as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

pip_install() {
  if [[ ! -x .venv/bin/python3 ]]; then
    python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
    step venv python3 -m venv .venv
  fi
  step "pip ${1%%=*}" .venv/bin/python3 -m pip install --disable-pip-version-check "$@"
}

fetch_nvrtc_versions() {
  local version folder
  for version in "${!nvrtc_versions[@]}"; do
    folder=.venv/nvrtc/$version
    [[ ! -d $folder ]] || continue
    rm -rf "$folder.part"
    if pip_install "${nvrtc_versions[$version]}" --no-deps --quiet --retries 1 --target "$folder.part"; then
      mv "$folder.part" "$folder"
    else
      echo "NVRTC $version could not be fetched: its tests are skipped"
    fi
  done
}

if $only_nvrtc; then
  fetch_nvrtc_versions
  exit
fi

mapfile -t missing < <(missing_packages)
if ((${#missing[@]} > 0)); then
  echo "installing: ${missing[*]}"
  install_packages "${missing[@]}"
fi

if ! found=$(python3 scripts/find_cuda.py 2>&1); then
  echo "$found"
  echo "taking NVRTC and the CUDA headers from the nvidia wheels"
  pip_install "${cuda_wheels[@]}"
  python3 scripts/find_cuda.py >/dev/null || die "the wheels' NVRTC does not work either"
fi

if $checking && [[ $(scripts/ruff.sh --version 2>/dev/null) != "ruff $ruff_version" ]]; then
  pip_install "ruff==$ruff_version"
fi
# From 22 on it does not match what is in system headers: that takes two and a half times less than the distribution's 19.
if $checking && [[ $(.venv/bin/clang-tidy --version 2>/dev/null) != *" $clang_tidy_version"* ]]; then
  pip_install "clang-tidy==$clang_tidy_version"
fi
