#include "api/loaded_kernel.hpp"

#include "api/check_args.hpp"
#include "base/fail.hpp"
#include "device/decode_workspace.cuh"
#include "device/params.cuh"
#include "device/tile_schedule.cuh"
#include "plan/plan.hpp"

#include <cmath>
#include <numbers>

namespace kiln::detail {
namespace {

constexpr int kWarpThreads = 32;

device::Strides to_device(const Strides& strides) { return {strides.batch, strides.row, strides.head}; }

/// The kernels work in base 2.
float scale_log2(const std::optional<float>& scale, int head_dim) {
  const float given = scale ? *scale : 1.0F / std::sqrt(static_cast<float>(head_dim));
  return given * std::numbers::log2e_v<float>;
}

cuda::LaunchShape shape_of(const plan::KernelConfig& config, std::int64_t blocks) {
  return {.grid_x = static_cast<unsigned>(blocks),
          .threads = static_cast<unsigned>(config.tiling.warps * kWarpThreads),
          .smem_bytes = static_cast<unsigned>(config.smem_bytes)};
}

}  // namespace

void LoadedKernel::launch(Stream stream, const ForwardArgs& args) const {
  const auto& attention = config_.request.config;
  api::check(attention, args);
  if (api::writes_nothing(args)) return;
  const auto& lengths = args.lengths;
  const auto schedule = device::forward_schedule(
      {.batch = args.batch,
       .heads_q = args.heads_q,
       .heads_kv = args.heads_kv,
       .len_q = args.len_q,
       .len_k = args.len_k,
       .ragged = attention.ragged,
       .total_q = lengths.cu_seqlens_q != nullptr ? lengths.total_q : std::int64_t{args.batch} * args.len_q,
       .key_bytes = (attention.head_dim_qk + attention.head_dim_v) * plan::element_bytes(attention.dtype)},
      config_.tiling.tile_m);
  const float scale = scale_log2(args.scale, attention.head_dim_qk);
  const float cap = args.softcap * std::numbers::log2e_v<float>;
  const device::ForwardParams params{
      .q = args.q.data,
      .k = args.k.data,
      .v = args.v.data,
      .o = args.out.data,
      .lse = args.lse,
      .q_strides = to_device(args.q.strides),
      .k_strides = to_device(args.k.strides),
      .v_strides = to_device(args.v.strides),
      .o_strides = to_device(args.out.strides),
      .cu_seqlens_q = lengths.cu_seqlens_q,
      .cu_seqlens_k = lengths.cu_seqlens_k,
      .seqused_q = lengths.seqused_q,
      .seqused_k = lengths.seqused_k,
      .page_table = args.pages.table,
      .page_table_stride = args.pages.row_stride,
      .alibi_slopes = args.alibi_slopes,
      .alibi_batch_stride = args.alibi_batch_stride,
      .sinks = args.sinks,
      .bias = args.bias.data,
      .bias_strides = to_device(args.bias.strides),
      .batch = args.batch,
      .heads_q = args.heads_q,
      .heads_kv = args.heads_kv,
      .group = args.heads_q / args.heads_kv,
      .len_q = args.len_q,
      .len_k = args.len_k,
      .total_q = lengths.total_q,
      .window_left = args.window_left,
      .window_right = args.window_right,
      .page_size = args.pages.page_size,
      .scale_log2 = scale,
      .softcap_log2 = cap,
      .inverse_cap = 1 / cap,
      .lse_unit = args.lse_base2 ? 1 : std::numbers::ln2_v<float>,
      .bundle = schedule.bundle,
      .row_tiles = schedule.row_tiles,
      .heads = device::pack_heads(args.heads_q / args.heads_kv, args.len_q),
  };
  module_->launch(shape_of(config_, schedule.blocks()), stream, &params);
  count_launch();
}

int LoadedKernel::splits(const DecodeArgs& args) const {
  if (args.num_splits > 0) return args.num_splits;
  return plan::default_splits(config_, device_, args.batch, args.heads_q, args.heads_kv, args.max_len_k);
}

std::size_t LoadedKernel::workspace_bytes(const DecodeArgs& args) const {
  const auto& attention = config_.request.config;
  api::check_shape(attention, args);
  const auto workspace = device::decode_workspace(args.batch, args.heads_q, attention.head_dim_v, splits(args));
  return static_cast<std::size_t>(workspace.bytes);
}

void LoadedKernel::launch(Stream stream, const DecodeArgs& args) const {
  const auto& attention = config_.request.config;
  api::check(attention, args);
  if (args.batch == 0) return;  // nothing to write
  const int split_count = splits(args);
  const auto workspace = device::decode_workspace(args.batch, args.heads_q, attention.head_dim_v, split_count);
  api::check_workspace(args, static_cast<std::size_t>(workspace.bytes));
  auto* const base = static_cast<std::byte*>(args.workspace);
  const device::DecodeParams params{
      .q = args.q.data,
      .k = args.k_cache.data,
      .v = args.v_cache.data,
      .o = args.out.data,
      .lse = args.lse,
      .lengths = args.lengths,
      .counters = reinterpret_cast<device::i32*>(base + workspace.counters),
      .partial_o = reinterpret_cast<float*>(base + workspace.partial_o),
      .partial_lse = reinterpret_cast<float*>(base + workspace.partial_lse),
      .q_strides = to_device(args.q.strides),
      .k_strides = to_device(args.k_cache.strides),
      .v_strides = to_device(args.v_cache.strides),
      .o_strides = to_device(args.out.strides),
      .batch = args.batch,
      .heads_q = args.heads_q,
      .heads_kv = args.heads_kv,
      .group = args.heads_q / args.heads_kv,
      .max_len_k = args.max_len_k,
      .splits = split_count,
      .window_left = args.window_left,
      .scale_log2 = scale_log2(args.scale, attention.head_dim_qk),
  };
  const auto schedule = device::decode_schedule(args.batch, args.heads_q, args.heads_kv, split_count);
  module_->launch(shape_of(config_, schedule.blocks()), stream, &params);
  count_launch();
}

}  // namespace kiln::detail
