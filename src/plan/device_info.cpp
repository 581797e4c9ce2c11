#include "plan/device_info.hpp"

#include "base/fail.hpp"

#include <algorithm>
#include <array>
#include <iterator>

namespace kiln::plan {
namespace {

struct Known {
  int capability;
  const char* name;
  int sm_count;
  int smem_per_block_kib;
};

// Shared memory per block decides which tiles fit; an SM has 1 KiB more than a block may use, on 7.5 the
// same. Where a capability comes in several sizes, this is the one most people have.
constexpr std::array kKnown = {
    Known{75, "NVIDIA T4", 40, 64},
    Known{80, "NVIDIA A100", 108, 163},
    Known{86, "NVIDIA GeForce RTX 3090", 82, 99},
    Known{87, "NVIDIA Jetson AGX Orin", 16, 163},
    Known{88, "compute capability 8.8", 16, 99},
    Known{89, "NVIDIA GeForce RTX 4090", 128, 99},
    Known{90, "NVIDIA H200", 132, 227},
    Known{100, "NVIDIA B200", 148, 227},
    Known{103, "NVIDIA B300", 148, 227},
    Known{110, "NVIDIA Jetson AGX Thor", 20, 227},
    Known{120, "NVIDIA GeForce RTX 5090", 170, 99},
    Known{121, "NVIDIA GB10", 48, 99},
};

constexpr auto kCapabilities = [] {
  std::array<int, kKnown.size()> out{};
  std::ranges::transform(kKnown, out.begin(), &Known::capability);
  return out;
}();

}  // namespace

std::span<const int> known_capabilities() { return kCapabilities; }

int reserved_smem_per_block(int capability) {
  constexpr int kBytes = 1024;
  return capability < 80 ? 0 : kBytes;
}

bool has_type(int capability, DType dtype) { return capability >= 80 || dtype == DType::f16; }

DeviceInfo reference_device(int capability) {
  const auto* found = std::ranges::find(kKnown, capability, &Known::capability);
  if (found == kKnown.end()) {
    base::fail(ErrorCode::unsupported, "compute capability {}.{} is not one of those Kiln knows: {}", capability / 10,
               capability % 10, fmt::join(kCapabilities, ", "));
  }
  constexpr int kKib = 1024;
  const int reserved_kib = reserved_smem_per_block(capability) / kKib;
  return {.name = found->name,
          .capability = capability,
          .sm_count = found->sm_count,
          .smem_per_block = found->smem_per_block_kib * kKib,
          .smem_per_sm = (found->smem_per_block_kib + reserved_kib) * kKib};
}

}  // namespace kiln::plan
