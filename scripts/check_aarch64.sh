#!/usr/bin/env bash
# Builds library, tool and tests for 64-bit Arm on another Debian machine, warnings being errors, and runs the host tests
# under qemu. Kernels are compiled by the stand-in only: NVRTC's tests skip themselves.
#
# usage: check_aarch64.sh [ctest option...]
#
# Needs g++-aarch64-linux-gnu and qemu-user. The Arm packages that Kiln builds with are unpacked into a sysroot under
# build/, so nothing of another architecture is installed. Tests start programs of their own; a handler for those is
# registered in a namespace of the script's own, or, where the kernel (before 6.7) has none, taken from the system
# (package qemu-user-binfmt).
set -euo pipefail
source "$(dirname "$0")/common.sh"

readonly packages=(libc6-dev libstdc++-12-dev libspdlog-dev libfmt-dev nlohmann-json3-dev libcli11-dev libssl-dev
                   libgtest-dev libgmock-dev)
readonly sysroot=$root/build/aarch64-sysroot
build=build/aarch64

command -v aarch64-linux-gnu-g++ qemu-aarch64 >/dev/null || die "install these: g++-aarch64-linux-gnu qemu-user"

# Downloads for arm64 with this machine's sources and keys, and with lists and a status of their own.
download_packages() {
  local apt=$1
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  touch "$apt/status"
  cat >"$apt/apt.conf" <<CONF
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Install-Recommends "false";
Dir::State "$apt";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Debug::NoLocking "true";
CONF
  APT_CONFIG=$apt/apt.conf apt-get update
  APT_CONFIG=$apt/apt.conf apt-get install -y --download-only "${packages[@]}"
}

make_sysroot() {
  local package link
  rm -rf "$sysroot" "$sysroot.part"
  download_packages "$sysroot.part/apt"
  for package in "$sysroot.part/apt/cache/archives"/*.deb; do
    dpkg-deb -x "$package" "$sysroot.part"
  done
  rm -r "$sysroot.part/apt"
  find "$sysroot.part" -type l -lname '/*' | while read -r link; do
    ln -snfr "$sysroot.part$(readlink "$link")" "$link"
  done
  mv "$sysroot.part" "$sysroot"
}

run_tests() {
  export QEMU_LD_PREFIX=$sysroot
  local tests=(ctest --test-dir "$build" -j "$jobs" --output-on-failure --no-tests=error --timeout 600
               -LE '^(kernels|package)$' "$@")
  # The magic and mask of an ELF program for aarch64; F: the handler is opened here and now.
  local handler=':kiln-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
  handler+=':\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
  handler+=":$(command -v qemu-aarch64):F"
  mkdir -p "$build/binfmt"
  if grep -qs '^enabled' /proc/sys/fs/binfmt_misc/qemu-aarch64; then
    "${tests[@]}"
  else
    # shellcheck disable=SC2016
    unshare --user --map-root-user --mount bash -ec '
      mount -t binfmt_misc binfmt_misc "$1"
      printf "%s" "$2" >"$1/register"
      shift 2
      exec "$@"' bash "$build/binfmt" "$handler" "${tests[@]}"
  fi
}

[[ -d $sysroot ]] || step sysroot make_sysroot
step configure configure "$build" --toolchain cmake/aarch64.cmake -DCMAKE_SYSROOT="$sysroot" -DCMAKE_BUILD_TYPE=Release \
  -DKILN_BUILD_BENCH=OFF
step build cmake --build "$build" -j "$jobs"
step tests run_tests "$@"
sed -n '/tests passed/,$p' "$step_logs/tests.log"
