#include "plan/decode_split.hpp"

#include "device/base.cuh"

#include <algorithm>

namespace kiln::plan {
namespace {

using device::ceil_div;

constexpr std::int64_t kManyShares = 2;  // a block
/// More row tiles than any call may have; counting stops there, so that no product of a call's numbers overflows.
constexpr std::int64_t kTooMany = std::int64_t{1} << 31;

/// Groups of one block for each KV head that come closest to filling the GPU. Blocks that all fit at once need no
/// second look; many heads may take a few rounds of them.
std::int64_t filling_groups(std::int64_t blocks_at_once, std::int64_t heads_kv) {
  constexpr std::int64_t kMostRounds = 4;
  constexpr double kFullEnough = 0.9;
  std::int64_t best = 1;
  double best_share = 0;
  for (std::int64_t rounds = 1; rounds <= kMostRounds; ++rounds) {
    const std::int64_t groups = rounds * blocks_at_once / heads_kv;
    const double share = static_cast<double>(groups * heads_kv) / static_cast<double>(rounds * blocks_at_once);
    if (share > best_share) {
      best = groups;
      best_share = share;
    }
    if (best_share >= kFullEnough) break;
  }
  return best;
}

}  // namespace

DecodeSplit decode_split(const KernelConfig& config, const DeviceInfo& device, const DecodeArgs& args) {
  const auto& tiling = config.tiling;
  const std::int64_t tile_m = tiling.tile_m;
  const std::int64_t group = args.heads_q / args.heads_kv;
  const std::int64_t row_tiles = std::min(ceil_div(args.len_q * group, tile_m), kTooMany);
  const std::int64_t key_tiles = std::max<std::int64_t>(ceil_div(args.max_len_k, tiling.tile_n), 1);
  const std::int64_t places = std::min(row_tiles * args.batch, kTooMany);     // if each sequence has the most
  const std::int64_t of_packed = args.total_q * group / tile_m + args.batch;  // every sequence has one that isn't full
  const std::int64_t all_row_tiles = args.cu_seqlens_q != nullptr ? std::min(of_packed, places) : places;

  DecodeSplit split;
  split.params.row_tiles = static_cast<int>(row_tiles);
  split.work = all_row_tiles * key_tiles;
  if (args.num_splits == 0 && args.split_size == 0) {
    const std::int64_t at_once = std::int64_t{device.sm_count} * tiling.ctas_per_sm;
    const std::int64_t groups = std::clamp<std::int64_t>(split.work, 1, filling_groups(at_once, args.heads_kv));
    // Only many shares a block are worth counting: with few, it is whole tiles that must come out even.
    if (all_row_tiles >= kManyShares * groups) {
      split.params.share_cost = 1;
      split.work += all_row_tiles;
    }
    split.params.groups = static_cast<int>(groups);
    if (groups > 1 && key_tiles > 1) {
      split.counters = groups * args.heads_kv;
      split.parts = 2 * groups;
    }
    return split;
  }
  const std::int64_t split_tiles = ceil_div(args.split_size, tiling.tile_n);
  const std::int64_t splits =
      args.num_splits > 0 ? std::min<std::int64_t>(args.num_splits, key_tiles) : ceil_div(key_tiles, split_tiles);
  split.params.splits = static_cast<int>(splits);
  split.params.split_tiles = static_cast<int>(split_tiles);
  const std::int64_t groups = places * splits;
  split.params.groups = static_cast<int>(groups);
  if (splits > 1) {
    split.counters = places * args.heads_kv;
    split.parts = groups;
  }
  return split;
}

}  // namespace kiln::plan
