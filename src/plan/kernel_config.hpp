#pragma once

#include <kiln/runtime.hpp>

#include <compare>
#include <string>

namespace kiln::plan {

/// How a kernel cuts its work: what the heuristics reason out and the tuner measures.
struct Tiling {
  int tile_m = 0;  ///< query rows of a block's tile
  int tile_n = 0;  ///< keys of a step
  int warps = 0;
  int stages = 0;       ///< K/V tiles in flight
  int ctas_per_sm = 0;  ///< blocks an SM should hold at once; decode splits keys to reach it

  auto operator<=>(const Tiling&) const = default;
};

/// Everything that is fixed when a kernel is compiled.
struct KernelConfig {
  KernelRequest request{};
  int capability = 0;
  Tiling tiling{};
  int smem_bytes = 0;

  auto operator<=>(const KernelConfig&) const = default;
};

int element_bytes(DType dtype);

/// The request without what makes no difference to its kernel, so that equal kernels are one: only a diagonal or a
/// window has an alignment, a decode kernel is told with each call what hides keys, and a merge has a config of its
/// own.
KernelRequest canonical(KernelRequest request);

/// "forward_bf16_d128_causal_sm90": names files and says what a kernel is.
std::string name_of(const KernelConfig& config);

}  // namespace kiln::plan
