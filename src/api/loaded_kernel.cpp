#include "api/loaded_kernel.hpp"

#include "api/check_args.hpp"
#include "api/device_strides.hpp"
#include "base/fail.hpp"
#include "device/mask.cuh"
#include "device/page_size.cuh"
#include "device/params.cuh"
#include "device/tile_schedule.cuh"
#include "plan/decode_split.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace kiln::detail {
namespace {

constexpr int kWarpThreads = 32;

/// The kernels work in base 2.
float scale_log2(const std::optional<float>& scale, int head_dim) {
  const float given = scale ? *scale : 1.0F / std::sqrt(static_cast<float>(head_dim));
  return given * std::numbers::log2e_v<float>;
}

/// What both kinds of kernel are told alike.
template <class Args>
device::AttentionParams attention_params(const AttentionConfig& config, const Args& args, const Input& k,
                                         const Input& v) {
  const int group = args.heads_q / args.heads_kv;
  const float cap = args.softcap * std::numbers::log2e_v<float>;
  return {.q = args.q.data,
          .k = k.data,
          .v = v.data,
          .o = args.out.data,
          .lse = args.lse,
          .q_strides = to_device(args.q.strides),
          .k_strides = to_device(k.strides),
          .v_strides = to_device(v.strides),
          .o_strides = to_device(args.out.strides),
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
          .group = group,
          .len_q = args.len_q,
          .window_left = config.window == Window::fixed ? config.window_left : args.window_left,
          .window_right = config.window == Window::fixed ? config.window_right : args.window_right,
          .scale_log2 = scale_log2(args.scale, config.head_dim_qk),
          .softcap_log2 = cap,
          .inverse_cap = 1 / cap,
          .lse_unit = args.lse_base2 ? 1 : std::numbers::ln2_v<float>,
          .heads = device::pack_heads(group, args.len_q),
          .page = device::page_size_of(args.pages.page_size)};
}

cuda::LaunchShape shape_of(const plan::KernelConfig& config, std::int64_t blocks) {
  return {.grid_x = static_cast<unsigned>(blocks),
          .threads = static_cast<unsigned>(config.tiling.warps * kWarpThreads),
          .smem_bytes = static_cast<unsigned>(config.smem_bytes)};
}

/// Bytes of K and V if all sequences were as long as they may be.
double most_read_by(const AttentionConfig& config, const DecodeArgs& args) {
  return double{1} * args.batch * args.max_len_k * args.heads_kv * (config.head_dim_qk + config.head_dim_v) *
         plan::element_bytes(config.dtype);
}

/// A block's KV head and group without a division. Blocks of a kernel that overlaps are placed as others end, so that
/// the KV heads of a group, whose keys are neighbours, don't run side by side: what may read much does without.
cuda::LaunchShape decode_shape(const plan::KernelConfig& config, int heads_kv, int groups, double most_read) {
  constexpr double kMostWithOverlap = 512 << 20;  // bytes
  constexpr unsigned kMostRows = 1U << 15;        // of a grid: it has 65,535 at most
  auto shape = shape_of(config, heads_kv);
  shape.may_overlap = most_read <= kMostWithOverlap;
  shape.grid_y = std::min(static_cast<unsigned>(groups), kMostRows);
  shape.grid_z = device::ceil_div(static_cast<unsigned>(groups), kMostRows);
  return shape;
}

/// Short calls want copies far ahead, which the memory as a whole is slower for (docs/kernels/decode.md).
int full_depth(double most_read) {
  constexpr double kLong = 1 << 30;  // bytes
  return most_read > kLong ? 3 : 8;
}

bool is_simple_cache(const DecodeArgs& args) {
  return args.cache_rows == nullptr && args.left_padding == nullptr && args.pages.indptr == nullptr;
}

/// A window's side that no key lies beyond is open.
int decode_side(int keys) { return keys < device::kMaxLength ? keys : -1; }

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
  device::ForwardParams params{attention_params(attention, args, args.k, args.v), schedule.bundle, schedule.row_tiles};
  params.len_k = args.len_k;
  params.cu_seqlens_q = lengths.cu_seqlens_q;
  params.cu_seqlens_k = lengths.cu_seqlens_k;
  params.seqused_q = lengths.seqused_q;
  params.seqused_k = lengths.seqused_k;
  params.total_q = lengths.total_q;
  module_->launch(shape_of(config_, schedule.blocks()), stream, &params);
  count_launch();
}

std::size_t LoadedKernel::workspace_bytes(const DecodeArgs& args) const {
  api::check_shape(asked(), args);
  if (api::writes_nothing(args)) return 0;
  const auto split = plan::decode_split(config_, device_, args);
  api::check_split(args, config_.tiling.tile_m, split);
  return static_cast<std::size_t>(workspace_of(split, args).bytes);
}

device::DecodeWorkspace LoadedKernel::workspace_of(const plan::DecodeSplit& split, const DecodeArgs& args) const {
  return device::decode_workspace(split.parts * args.heads_kv, config_.tiling.tile_m, asked().head_dim_v);
}

void LoadedKernel::launch(Stream stream, const DecodeArgs& args) const {
  const auto& attention = asked();
  api::check(attention, args);
  if (api::writes_nothing(args)) return;
  const auto split = plan::decode_split(config_, device_, args);
  api::check_split(args, config_.tiling.tile_m, split);
  const auto workspace = workspace_of(split, args);
  api::check_workspace(args, static_cast<std::size_t>(workspace.bytes));
  auto* const base = static_cast<std::byte*>(args.workspace);
  const double most_read = most_read_by(attention, args);
  device::DecodeParams params{attention_params(attention, args, args.k_cache, args.v_cache)};
  params.cache = {.rows = args.cache_rows,
                  .left_padding = args.left_padding,
                  .page_indptr = args.pages.indptr,
                  .last_page_len = args.pages.last_page_len};
  params.tree = {.words = args.tree.words, .batch_stride = args.tree.batch_stride, .row_stride = args.tree.row_stride};
  params.counters = reinterpret_cast<device::i32*>(base + workspace.counters);
  params.partial_o = reinterpret_cast<float*>(base + workspace.partial_o);
  params.partial_state = reinterpret_cast<float*>(base + workspace.partial_state);
  params.split = split.params;
  params.simple_cache = is_simple_cache(args) ? 1 : 0;
  params.alike =
      params.simple_cache != 0 && args.lengths == nullptr && args.cu_seqlens_q == nullptr && args.seqused_q == nullptr
          ? 1
          : 0;
  params.align_top_left = attention.alignment == Alignment::top_left ? 1 : 0;
  params.full_depth = full_depth(most_read);
  params.window_left = decode_side(params.window_left);
  params.window_right = attention.causal ? 0 : decode_side(params.window_right);
  params.len_k = args.max_len_k;
  params.cu_seqlens_q = args.cu_seqlens_q;
  params.seqused_q = args.seqused_q;
  params.seqused_k = args.lengths;
  params.total_q = args.total_q;
  const auto queue = [&] {
    module_->launch(decode_shape(config_, args.heads_kv, split.params.groups, most_read), stream, &params);
  };
  if (workspace_check_ == nullptr) {
    queue();
  } else {
    workspace_check_->launch(stream, {base, static_cast<std::size_t>(workspace.bytes)}, queue);
  }
  count_launch();
}

}  // namespace kiln::detail
