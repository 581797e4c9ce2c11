#include "plan/forward_tiling.hpp"

#include <algorithm>

namespace kiln::plan {
namespace {

// What follows lists tilings best first: {query rows of a block, keys of a step, warps, stages, blocks an SM}.
//
// A warp of 32 rows reads each K and V tile half as often as one of 16. What that needs is registers, a lane: O takes
// head_dim_v of them, S tile_n, the rest some 60. Three blocks of four warps leave 168, two leave 255, as does one of
// eight. With 16 rows O and S take half. More keys a step mean fewer barriers and sums over lanes, and Q is read
// again less often where it isn't in registers; fewer leave shared memory for a second block, whose warps run while
// those of the first wait.

std::vector<Tiling> sixteen_bit_tilings(const AttentionConfig& config, int capability) {
  const int widest = std::max(config.head_dim_qk, config.head_dim_v);
  // What changes scores takes registers too: then two blocks instead of three.
  const bool changes_scores = config.softcap || config.alibi || config.bias != Bias::none;
  if (widest <= 64 && config.paged && capability >= 100 && capability < 120) {
    return {{128, 48, 4, 2, 3}};  // there 64 keys and the addresses of pages spill
  }
  if (widest <= 64 && !changes_scores) return {{128, 64, 4, 2, 3}, {128, 64, 4, 2, 2}, {128, 48, 4, 2, 2}};
  if (widest > 112 && widest <= 128 && (capability == 103 || capability == 110)) {
    return {{128, 48, 4, 2, 2}};  // there 64 keys spill
  }
  if (widest <= 128) return {{128, 64, 4, 2, 2}, {128, 64, 8, 2, 1}, {128, 48, 8, 2, 1}};
  std::vector<Tiling> tilings;
  // 32 rows still hold O, if one place for K and V leaves room for a second block.
  if (widest <= 144 || (widest <= 192 && config.head_dim_v <= 128)) tilings.push_back({128, 64, 4, 1, 2});
  if (widest <= 160 || (widest <= 192 && config.head_dim_v <= 128)) tilings.push_back({128, 48, 4, 1, 2});
  // The same with 16 rows. Alone on an SM, one block of eight warps with long tiles does better; under a diagonal not,
  // since its tiles hide more than they show.
  if (widest > 192 && !config.causal) tilings.push_back({128, 128, 8, 1, 1});
  tilings.push_back({64, 64, 4, 1, 2});
  for (const int tile_n : {64, 48, 32}) tilings.push_back({128, tile_n, 8, 2, 1});
  tilings.push_back({64, 64, 4, 1, 1});  // 99 KB
  return tilings;
}

/// Operands are split into two TF32 parts on the way: with 32 rows that is done once for two blocks of 16, and an SM
/// has two blocks, so that one splits while the other multiplies.
std::vector<Tiling> float_tilings(const AttentionConfig& config) {
  const int widest = std::max(config.head_dim_qk, config.head_dim_v);
  if (widest <= 64) return {{128, 64, 4, 2, 2}, {128, 48, 4, 2, 2}, {128, 32, 4, 2, 2}, {128, 64, 8, 2, 1}};
  if (widest <= 128) return {{128, 32, 4, 1, 2}, {128, 16, 4, 2, 2}, {128, 32, 8, 2, 1}, {128, 16, 8, 2, 1}};
  return {{128, 32, 8, 2, 1}, {128, 16, 8, 2, 1}, {64, 32, 4, 2, 1},
          {64, 16, 4, 2, 1},  {64, 16, 4, 1, 1},  {32, 16, 2, 2, 1}};
}

/// Compute capability 7.5 copies with loads and stores, which only other warps can hide: many warps come before long
/// tiles in its 64 KB.
std::vector<Tiling> turing_tilings(const AttentionConfig& config) {
  if (std::max(config.head_dim_qk, config.head_dim_v) <= 32) return {{128, 64, 4, 2, 2}};
  return {{128, 64, 8, 2, 1}, {128, 32, 8, 2, 1}, {96, 32, 6, 2, 1},
          {64, 32, 4, 2, 1},  {64, 16, 4, 2, 1},  {48, 16, 3, 2, 1}};
}

}  // namespace

std::vector<Tiling> preferred_forward_tilings(const KernelRequest& request, int capability) {
  if (capability < 80) return turing_tilings(request.config);
  return request.config.dtype == DType::f32 ? float_tilings(request.config)
                                            : sixteen_bit_tilings(request.config, capability);
}

std::vector<Tiling> all_forward_tilings(const KernelRequest& request) {
  struct Rows {
    int tile_m;
    int warps;
  };
  constexpr int kMostDimOf32Rows = 160;
  constexpr int kLeastDimOfOnePlace = 128;  // smaller ones have room for two
  const int widest = std::max(request.config.head_dim_qk, request.config.head_dim_v);
  std::vector<Tiling> out;
  for (const auto& [tile_m, warps] : {Rows{64, 4}, Rows{128, 4}, Rows{128, 8}}) {
    if (tile_m / warps > 16 && request.config.head_dim_v > kMostDimOf32Rows) continue;
    for (const int tile_n : {32, 48, 64, 96, 128}) {
      for (const int stages : {1, 2, 3}) {
        if (stages == 1 && widest <= kLeastDimOfOnePlace) continue;
        for (const int ctas : {1, 2, 3}) out.push_back({tile_m, tile_n, warps, stages, ctas});
      }
    }
  }
  return out;
}

}  // namespace kiln::plan
