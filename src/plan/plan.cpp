#include "plan/plan.hpp"

#include "base/fail.hpp"
#include "device/smem_plan.cuh"
#include "plan/forward_tiling.hpp"
#include "plan/merge_tiling.hpp"
#include "plan/names.hpp"

#include <algorithm>
#include <array>

namespace kiln::plan {
namespace {

constexpr int kHeadDimStep = 8;
constexpr int kMostHeadDim = 256;
constexpr int kLeastCapability = 75;
constexpr int kMmaKeys = 16;  // the k step of an mma.sync: keys of P V
constexpr std::array kDecodeRows = {16, 32, 64};

void check_head_dim(const char* name, int dim) {
  if (dim < kHeadDimStep || dim > kMostHeadDim || dim % kHeadDimStep != 0) {
    base::fail(ErrorCode::unsupported, "{} {} is not supported: it must be a multiple of {} from {} to {}", name, dim,
               kHeadDimStep, kHeadDimStep, kMostHeadDim);
  }
}

void check_decode(const AttentionConfig& config) {
  if (config.dtype == DType::f32) {
    base::fail(ErrorCode::unsupported, "dtype f32 is not supported by decode: it must be f16 or bf16");
  }
  if (std::ranges::find(kDecodeRows, config.decode_rows) == kDecodeRows.end()) {
    base::fail(ErrorCode::unsupported, "decode_rows {} is not supported: it must be 16, 32 or 64", config.decode_rows);
  }
}

/// Merging multiplies no matrices, but compute capability 7.5 has no bf16 at all.
bool can_merge(int capability, DType dtype) { return dtype == DType::f32 || has_type(capability, dtype); }

void check_merge(const MergeConfig& merge, int capability) {
  check_head_dim("head_dim_v", merge.head_dim_v);
  const auto check = [&](const char* name, DType dtype) {
    if (can_merge(capability, dtype)) return;
    base::fail(ErrorCode::unsupported, "{} {} is not supported on compute capability {}.{}: it must be f16 or f32",
               name, to_string(dtype), capability / 10, capability % 10);
  };
  check("dtype", merge.dtype);
  check("out_dtype", merge.out_dtype);
}

void check_window_side(const char* name, int side, Window window) {
  constexpr int kOpen = -1;
  if (side < kOpen) base::fail(ErrorCode::invalid_argument, "{} is {}: it must be -1 (open) or more", name, side);
  if (side != kOpen && window != Window::fixed) {
    base::fail(ErrorCode::invalid_argument, "{} is {}, but window is {}: it must be -1 unless window is fixed", name,
               side, to_string(window));
  }
}

void check_request(const KernelRequest& request, const DeviceInfo& device) {
  if (device.capability < kLeastCapability) {
    base::fail(ErrorCode::unsupported, "compute capability {}.{} is not supported: it must be 7.5 or newer",
               device.capability / 10, device.capability % 10);
  }
  if (request.kind == KernelKind::merge) {
    check_merge(request.merge, device.capability);
    return;
  }
  if (request.kind == KernelKind::decode) check_decode(request.config);
  if (!has_type(device.capability, request.config.dtype)) {
    base::fail(ErrorCode::unsupported, "dtype {} is not supported on compute capability {}.{}: it must be f16",
               to_string(request.config.dtype), device.capability / 10, device.capability % 10);
  }
  check_head_dim("head_dim_qk", request.config.head_dim_qk);
  check_head_dim("head_dim_v", request.config.head_dim_v);
  check_window_side("window_left", request.config.window_left, request.config.window);
  check_window_side("window_right", request.config.window_right, request.config.window);
}

static_assert(static_cast<int>(DType::f16) == static_cast<int>(device::DType::f16) &&
              static_cast<int>(DType::bf16) == static_cast<int>(device::DType::bf16) &&
              static_cast<int>(DType::f32) == static_cast<int>(device::DType::f32));

int smem_bytes_of(const KernelRequest& request, const Tiling& tiling) {
  if (request.kind == KernelKind::merge) return 0;
  const auto& config = request.config;
  const auto type = static_cast<device::DType>(config.dtype);
  if (request.kind == KernelKind::forward) {
    return device::forward_smem_bytes(type, config.head_dim_qk, config.head_dim_v, tiling.tile_m, tiling.tile_n,
                                      tiling.stages, config.paged);
  }
  return device::decode_smem_bytes(type, config.head_dim_qk, config.head_dim_v, tiling.tile_m, tiling.tile_n,
                                   tiling.stages, tiling.warps, config.paged);
}

bool fits(const KernelRequest& request, const Tiling& tiling, const DeviceInfo& device) {
  const int bytes = smem_bytes_of(request, tiling);
  return bytes <= device.smem_per_block &&
         (bytes + reserved_smem_per_block(device.capability)) * tiling.ctas_per_sm <= device.smem_per_sm;
}

/// Whether warps can share a tile's rows and keys. What a warp copies begins where the swizzle does.
bool decode_can_have(int head_dim_v, int rows, int tile_n, int warps) {
  constexpr int kSwizzleRows = 8;
  const auto grid = device::decode_warps(head_dim_v, rows, warps);
  return grid.keys > 0 && grid.rows * grid.keys == warps && tile_n % (grid.keys * kMmaKeys) == 0 &&
         tile_n % (warps * kSwizzleRows) == 0;
}

std::vector<Tiling> all_tilings(const KernelRequest& request) {
  if (request.kind == KernelKind::forward) return all_forward_tilings(request);
  if (request.kind == KernelKind::merge) return {merge_tiling(request.merge)};
  std::vector<Tiling> out;
  for (const int warps : {2, 4, 8}) {
    for (const int tile_n : {32, 64, 128}) {
      if (!decode_can_have(request.config.head_dim_v, request.config.decode_rows, tile_n, warps)) continue;
      for (const int stages : {2, 3, 4, 6}) {
        for (const int ctas : {1, 2, 3, 4}) out.push_back({request.config.decode_rows, tile_n, warps, stages, ctas});
      }
    }
  }
  return out;
}

/// Bytes in flight hide the memory's latency: as many stages as fit, in two blocks an SM or in one of twice the warps.
/// Where shared memory is short, in one of as many warps, as long as many rows leave registers for a warp's scores, or
/// in smaller tiles, or of fewer rows.
std::vector<Tiling> preferred_decode_tilings(const AttentionConfig& config) {
  constexpr std::array kByPreference = {Tiling{0, 64, 4, 4, 2}, Tiling{0, 64, 4, 3, 2}, Tiling{0, 64, 4, 2, 2},
                                        Tiling{0, 64, 8, 3, 1}, Tiling{0, 64, 8, 2, 1}, Tiling{0, 64, 4, 4, 1},
                                        Tiling{0, 64, 4, 3, 1}, Tiling{0, 64, 4, 2, 1}, Tiling{0, 32, 4, 3, 1},
                                        Tiling{0, 32, 4, 2, 1}, Tiling{0, 32, 2, 2, 1}, Tiling{0, 16, 2, 2, 1},
                                        Tiling{0, 16, 1, 2, 1}};
  std::vector<Tiling> out;
  for (int rows = config.decode_rows; rows >= kDecodeRows.front(); rows /= 2) {
    for (Tiling tiling : kByPreference) {
      tiling.tile_m = rows;
      if (!decode_can_have(config.head_dim_v, rows, tiling.tile_n, tiling.warps)) continue;
      // Of 64 keys a warp, scores that features change would spill.
      constexpr int kMostKeys = 32;
      const int keys = tiling.tile_n / device::decode_warps(config.head_dim_v, rows, tiling.warps).keys;
      if (tiling.ctas_per_sm == 1 && keys > kMostKeys) continue;
      out.push_back(tiling);
    }
  }
  return out;
}

std::vector<Tiling> preferred_tilings(const KernelRequest& request, int capability) {
  switch (request.kind) {
    case KernelKind::forward:
      return preferred_forward_tilings(request, capability);
    case KernelKind::decode:
      return preferred_decode_tilings(request.config);
    case KernelKind::merge:
      break;
  }
  return {merge_tiling(request.merge)};
}

}  // namespace

bool has_types(int capability, const KernelRequest& request) {
  if (request.kind != KernelKind::merge) return has_type(capability, request.config.dtype);
  return can_merge(capability, request.merge.dtype) && can_merge(capability, request.merge.out_dtype);
}

Tiling reasoned_tiling(const KernelRequest& request, const DeviceInfo& device) {
  const auto by_preference = preferred_tilings(request, device.capability);
  for (const auto& tiling : by_preference) {
    if (fits(request, tiling, device)) return tiling;
  }
  base::fail(ErrorCode::unsupported, "{} needs {} bytes of shared memory a block; {} has {}", describe(request),
             smem_bytes_of(request, by_preference.back()), device.name, device.smem_per_block);
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
  // A row serves features, too, that take shared memory its tiling may not leave.
  const bool usable = found && fits(request, *found, device);
  return with_tiling(request, device, usable ? *found : reasoned_tiling(request, device));
}

int compile_weight(const KernelRequest& request) {
  if (request.kind == KernelKind::merge) return request.merge.head_dim_v;
  const AttentionConfig config = canonical(request).config;
  // Code of a fixed size beside what grows with the head dims; masked steps are a loop of their own, unrolled again.
  constexpr int kFixed = 256;
  const int masks = (config.causal ? 1 : 0) + (config.window == Window::sliding ? 1 : 0);
  const int kind = request.kind == KernelKind::forward ? 3 : 1;
  return kind * (2 + masks) * (kFixed + config.head_dim_qk + config.head_dim_v);
}

}  // namespace kiln::plan
