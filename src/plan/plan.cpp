#include "plan/plan.hpp"

#include "base/fail.hpp"
#include "device/decode_workspace.cuh"
#include "device/smem_plan.cuh"
#include "plan/names.hpp"

#include <algorithm>
#include <array>

namespace kiln::plan {
namespace {

constexpr std::array kHeadDims = {64, 128};
constexpr int kLeastCapability = 80;
constexpr int kMmaRows = 16;  // query rows of one mma.sync tile, and of one warp

void check_head_dim(const char* name, int dim) {
  if (std::ranges::find(kHeadDims, dim) == kHeadDims.end()) {
    base::fail(ErrorCode::unsupported, "{} {} is not supported: it must be one of {}", name, dim,
               fmt::join(kHeadDims, ", "));
  }
}

/// What forward kernels do and decode kernels don't.
void check_features(const KernelRequest& request) {
  if (request.kind == KernelKind::forward) return;
  const auto& config = request.config;
  for (const auto& flag : flag_names()) {
    if (config.*flag.member && flag.member != &AttentionConfig::causal) {
      base::fail(ErrorCode::unsupported, "{} is not supported by decode kernels", flag.name);
    }
  }
  if (config.window == Window::fixed)
    base::fail(ErrorCode::unsupported, "a fixed window is not supported by decode kernels: use a sliding one");
  if (config.bias != Bias::none)
    base::fail(ErrorCode::unsupported, "{} bias is not supported by decode kernels", to_string(config.bias));
}

void check_request(const KernelRequest& request, const DeviceInfo& device) {
  if (device.capability < kLeastCapability) {
    base::fail(ErrorCode::unsupported, "compute capability {}.{} is not supported: it must be 8.0 or newer",
               device.capability / 10, device.capability % 10);
  }
  check_features(request);
  check_head_dim("head_dim_qk", request.config.head_dim_qk);
  check_head_dim("head_dim_v", request.config.head_dim_v);
}

int smem_bytes_of(const KernelRequest& request, const Tiling& tiling) {
  const auto& config = request.config;
  if (request.kind == KernelKind::forward) {
    return device::forward_smem_bytes(config.head_dim_qk, config.head_dim_v, tiling.tile_m, tiling.tile_n,
                                      tiling.stages, config.paged);
  }
  return device::decode_smem_bytes(config.head_dim_qk, config.head_dim_v, tiling.tile_n, tiling.stages, tiling.warps);
}

/// The driver keeps 1 KiB of an SM's shared memory for each block.
bool fits(const KernelRequest& request, const Tiling& tiling, const DeviceInfo& device) {
  constexpr int kReservedPerBlock = 1024;
  const int bytes = smem_bytes_of(request, tiling);
  return bytes <= device.smem_per_block && (bytes + kReservedPerBlock) * tiling.ctas_per_sm <= device.smem_per_sm;
}

std::vector<Tiling> all_tilings(const KernelRequest& request) {
  std::vector<Tiling> out;
  if (request.kind == KernelKind::forward) {
    // A warp of 32 rows reads K and V half as often; one of 16 leaves registers for the softmax.
    struct Rows {
      int tile_m;
      int warps;
    };
    for (const auto& [tile_m, warps] : {Rows{64, 4}, Rows{128, 4}, Rows{128, 8}}) {
      for (const int tile_n : {32, 64, 96, 128}) {
        for (const int stages : {2, 3}) {
          for (const int ctas : {1, 2, 3}) out.push_back({tile_m, tile_n, warps, stages, ctas});
        }
      }
    }
    return out;
  }
  for (const int warps : {2, 4, 8}) {
    for (const int tile_n : {32, 64, 128}) {
      for (const int stages : {2, 3, 4}) {
        for (const int ctas : {1, 2, 3, 4}) {
          if (tile_n % (warps * kMmaRows) == 0) out.push_back({kMmaRows, tile_n, warps, stages, ctas});
        }
      }
    }
  }
  return out;
}

}  // namespace

Tiling reasoned_tiling(const KernelRequest& request, const DeviceInfo& device) {
  const auto& config = request.config;
  const int widest = std::max(config.head_dim_qk, config.head_dim_v);
  std::vector<Tiling> by_preference;
  if (request.kind == KernelKind::forward) {
    // Four warps of 32 rows read each K and V tile half as often as eight of 16, and 168 registers hold S and O of
    // 64 columns: three blocks fill an SM, two where shared memory is short.
    if (widest <= 64) {
      by_preference = {{128, 64, 4, 2, 3}, {128, 64, 4, 2, 2}};
    } else if (config.window == Window::none) {
      // The same with O of 128 columns takes 255 registers: two blocks an SM, or eight warps in one.
      by_preference = {{128, 64, 4, 2, 2}, {128, 64, 8, 2, 1}};
    } else {
      by_preference = {{128, 64, 8, 2, 1}};  // a second mask bound spills with four warps
    }
  } else {
    // Bytes in flight hide the memory's latency: as many stages as fit beside a second block.
    by_preference = {
        {kMmaRows, 64, 4, 4, 2}, {kMmaRows, 64, 4, 3, 2}, {kMmaRows, 64, 4, 2, 2}, {kMmaRows, 64, 4, 2, 1}};
  }
  for (const auto& tiling : by_preference) {
    if (fits(request, tiling, device)) return tiling;
  }
  base::fail(ErrorCode::unsupported, "{} {} needs {} bytes of shared memory a block; {} has {}",
             to_string(request.kind), to_string(config), smem_bytes_of(request, by_preference.back()), device.name,
             device.smem_per_block);
}

std::vector<Tiling> candidate_tilings(const KernelRequest& request, const DeviceInfo& device) {
  check_request(request, device);
  std::vector<Tiling> out = {reasoned_tiling(request, device)};
  for (const auto& tiling : all_tilings(request)) {
    if (tiling != out.front() && fits(request, tiling, device)) out.push_back(tiling);
  }
  return out;
}

KernelConfig with_tiling(const KernelRequest& request, const DeviceInfo& device, const Tiling& tiling) {
  check_request(request, device);
  auto known = all_tilings(request);
  if (std::ranges::find(known, tiling) == known.end() && tiling != reasoned_tiling(request, device)) {
    base::fail(ErrorCode::unsupported, "no {} kernel has tile {}x{}, {} warps, {} stages, {} blocks an SM",
               to_string(request.kind), tiling.tile_m, tiling.tile_n, tiling.warps, tiling.stages, tiling.ctas_per_sm);
  }
  const int bytes = smem_bytes_of(request, tiling);
  if (!fits(request, tiling, device)) {
    base::fail(ErrorCode::unsupported,
               "tile {}x{} with {} stages, {} blocks an SM, takes {} bytes of shared memory a block; {} has {} a block "
               "and {} an SM",
               tiling.tile_m, tiling.tile_n, tiling.stages, tiling.ctas_per_sm, bytes, device.name,
               device.smem_per_block, device.smem_per_sm);
  }
  return {.request = canonical(request), .capability = device.capability, .tiling = tiling, .smem_bytes = bytes};
}

KernelConfig plan(const KernelRequest& request, const DeviceInfo& device, const TunedTable& tuned) {
  check_request(request, device);
  const auto found = tuned.find(request, device);
  return with_tiling(request, device, found ? *found : reasoned_tiling(request, device));
}

int compile_weight(const KernelRequest& request) {
  const AttentionConfig config = canonical(request).config;
  // Code of a fixed size beside what grows with the head dims; masked steps are a loop of their own, unrolled again.
  constexpr int kFixed = 256;
  const int masks = (config.causal ? 1 : 0) + (config.window == Window::sliding ? 1 : 0);
  const int kind = request.kind == KernelKind::forward ? 3 : 1;
  return kind * (2 + masks) * (kFixed + config.head_dim_qk + config.head_dim_v);
}

int default_splits(const KernelConfig& config, const DeviceInfo& device, int batch, int heads_q, int heads_kv,
                   int max_len_k) {
  constexpr std::int64_t kMostSplits = 256;  // the merging block reads one state a split
  const std::int64_t blocks = device::decode_counters(batch, heads_q, heads_kv);
  const std::int64_t room = std::int64_t{device.sm_count} * config.tiling.ctas_per_sm;
  const std::int64_t key_tiles = device::ceil_div(max_len_k, config.tiling.tile_n);
  // More sequences than the workspace has counters fill any GPU without splitting.
  if (blocks > device::kMaxDecodeCounters) return 1;
  const std::int64_t wanted = blocks == 0 ? 1 : room / blocks;
  return static_cast<int>(std::clamp<std::int64_t>(std::min(wanted, key_tiles), 1, kMostSplits));
}

}  // namespace kiln::plan
