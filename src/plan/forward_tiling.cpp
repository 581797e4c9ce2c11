#include "plan/forward_tiling.hpp"

#include <algorithm>

namespace kiln::plan {
namespace {

int widest_dim(const KernelRequest& request) { return std::max(request.config.head_dim_qk, request.config.head_dim_v); }

}  // namespace

// Warps of 32 rows read each K and V tile half as often as warps of 16. What they need is registers, a lane: O takes
// head_dim_v of them, S tile_n, the rest some 60. Three blocks of four warps leave 168, two leave 255.
std::vector<Tiling> preferred_forward_tilings(const KernelRequest& request) {
  const int widest = widest_dim(request);
  const bool window = request.config.window != Window::none;
  if (widest <= 64) return {{128, 64, 4, 2, 3}, {128, 64, 4, 2, 2}};
  if (widest <= 112 || (widest <= 128 && !window)) return {{128, 64, 4, 2, 2}, {128, 64, 8, 2, 1}};
  if (widest <= 128) return {{128, 64, 8, 2, 1}};  // a second mask bound spills with four warps
  // Fewer keys a step leave the registers for a longer O, as long as two blocks fit an SM.
  if (widest <= 144 || request.config.head_dim_v <= 128)
    return {{128, 32, 4, 2, 2}, {128, 64, 8, 2, 1}, {128, 32, 8, 2, 1}, {64, 32, 4, 2, 1}};
  // O of 32 rows no longer fits: eight warps of 16 rows, and as many keys a step as shared memory holds.
  return {{128, 64, 8, 2, 1}, {128, 32, 8, 2, 1}, {64, 32, 4, 2, 1}};
}

std::vector<Tiling> all_forward_tilings(const KernelRequest& request) {
  struct Rows {
    int tile_m;
    int warps;
  };
  constexpr int kMostDimOf32Rows = 144;
  constexpr int kLeastDimOfOnePlace = 128;  // smaller ones have room for two
  std::vector<Tiling> out;
  for (const auto& [tile_m, warps] : {Rows{64, 4}, Rows{128, 4}, Rows{128, 8}}) {
    if (tile_m / warps > 16 && request.config.head_dim_v > kMostDimOf32Rows) continue;
    for (const int tile_n : {32, 64, 96, 128}) {
      for (const int stages : {1, 2, 3}) {
        if (stages == 1 && widest_dim(request) <= kLeastDimOfOnePlace) continue;
        for (const int ctas : {1, 2, 3}) out.push_back({tile_m, tile_n, warps, stages, ctas});
      }
    }
  }
  return out;
}

}  // namespace kiln::plan
