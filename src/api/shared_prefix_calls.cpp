#include "api/shared_prefix_calls.hpp"

#include "base/fail.hpp"
#include "device/decode_workspace.cuh"
#include "device/mask.cuh"

#include <algorithm>
#include <string_view>

namespace kiln::api {
namespace {

/// A block of the prefix's kernel takes as many rows as it can: each further tile of them reads the prefix again.
constexpr int kPrefixRows = 64;

void refuse(bool asked, std::string_view what) {
  if (!asked) return;
  base::fail(ErrorCode::unsupported,
             "{} is not supported with a shared prefix: its keys are looked at as one sequence's, without positions",
             what);
}

void check_config(const AttentionConfig& config) {
  refuse(config.window != Window::none, "a window");
  refuse(config.alibi, "alibi");
  refuse(config.bias != Bias::none, "a bias");
  refuse(config.causal && config.alignment == Alignment::top_left, "causal with a top-left alignment");
}

/// Every query sees the whole prefix. Sinks count once: with the sequences' own keys.
AttentionConfig prefix_config(const AttentionConfig& config) {
  AttentionConfig prefix = config;
  prefix.causal = prefix.sinks = prefix.ragged = false;
  prefix.alignment = Alignment::bottom_right;
  prefix.decode_rows = kPrefixRows;
  prefix.output_f32 = true;
  return prefix;
}

bool is_packed(const DecodeArgs& args) { return args.cu_seqlens_q != nullptr; }

/// New tokens of the whole batch.
std::int64_t tokens_of(const DecodeArgs& args) {
  return is_packed(args) ? args.total_q : std::int64_t{args.batch} * args.len_q;
}

}  // namespace

/// Partial results stay float32: rounded to 16 bits they would be rounded twice.
SharedPrefixConfigs::SharedPrefixConfigs(const AttentionConfig& config)
    : prefix(prefix_config(config)),
      own(config),
      merge{.dtype = DType::f32,
            .out_dtype = config.output_f32 ? DType::f32 : config.dtype,
            .head_dim_v = config.head_dim_v} {
  check_config(config);
  own.output_f32 = true;
}

SharedPrefixLayout::SharedPrefixLayout(std::size_t decode_bytes, const DecodeArgs& args, int head_dim_v) {
  constexpr auto kCounters = static_cast<std::size_t>(device::kMaxDecodeCounters) * sizeof(std::int32_t);
  const auto rows = static_cast<std::size_t>(tokens_of(args)) * static_cast<std::size_t>(args.heads_q);
  const std::size_t out_bytes = rows * static_cast<std::size_t>(head_dim_v) * sizeof(float);
  prefix_out = std::max(decode_bytes, kCounters);
  own_out = prefix_out + out_bytes;
  prefix_lse = own_out + out_bytes;
  own_lse = prefix_lse + rows * sizeof(float);
  bytes = own_lse + rows * sizeof(float);
}

void check_shared_prefix(const DecodeArgs& args) {
  if (args.seqused_q != nullptr) {
    base::fail(ErrorCode::invalid_argument,
               "seqused_q is given, but with a shared prefix it must be null: pack the queries with cu_seqlens_q");
  }
  if (const auto tokens = tokens_of(args); tokens > device::kMaxLength) {
    base::fail(ErrorCode::invalid_argument,
               "batch {} and len_q {} make {} new tokens: with a shared prefix they must be "
               "at most {}",
               args.batch, args.len_q, tokens, device::kMaxLength);
  }
  const auto& strides = args.q.strides;
  if (is_packed(args) || args.batch <= 1 || args.len_q <= 1 || strides.batch == args.len_q * strides.row) return;
  base::fail(
      ErrorCode::invalid_argument,
      "q.strides.batch is {} elements: with a shared prefix it must be len_q * q.strides.row, {}, so that queries "
      "lie one behind the other",
      strides.batch, args.len_q * strides.row);
}

DecodeArgs prefix_args(const DecodeArgs& args, const SharedPrefix& prefix) {
  const bool one_each = !is_packed(args) && args.len_q == 1;
  DecodeArgs out;
  out.q = args.q;
  if (one_each) out.q.strides.row = args.q.strides.batch;
  out.k_cache = prefix.k;
  out.v_cache = prefix.v;
  out.lengths = prefix.length;
  out.batch = args.batch == 0 ? 0 : 1;
  out.len_q = static_cast<int>(tokens_of(args));
  out.max_len_k = prefix.len;
  out.heads_q = args.heads_q;
  out.heads_kv = args.heads_kv;
  out.scale = args.scale;
  out.lse_base2 = args.lse_base2;
  out.softcap = args.softcap;
  out.pages.table = prefix.page_table;
  out.pages.page_size = args.pages.page_size;
  return out;
}

SharedPrefixCalls::SharedPrefixCalls(const DecodeArgs& args, const SharedPrefix& shared,
                                     const SharedPrefixLayout& layout, int head_dim_v)
    : prefix(prefix_args(args, shared)), own(args) {
  auto* const base = static_cast<std::byte*>(args.workspace);
  const std::int64_t tokens = tokens_of(args);
  const int batch = is_packed(args) ? 1 : args.batch;
  const int len = is_packed(args) ? args.total_q : args.len_q;
  const auto out = Strides::bshd(len, args.heads_q, head_dim_v);
  const auto lse = Strides::bhsd(len, args.heads_q, 1);

  prefix.out = {base + layout.prefix_out, Strides::bshd(tokens, args.heads_q, head_dim_v)};
  prefix.lse = reinterpret_cast<float*>(base + layout.prefix_lse);
  own.out = {base + layout.own_out, out};
  own.lse = reinterpret_cast<float*>(base + layout.own_lse);
  prefix.workspace = own.workspace = args.workspace;
  prefix.workspace_bytes = own.workspace_bytes = layout.prefix_out;

  // The prefix's LSE is one sequence's, [heads, tokens].
  merge.states[0] = {{prefix.out.data, out}, {prefix.lse, {.batch = len, .row = 1, .head = tokens}}};
  merge.states[1] = {{own.out.data, out}, {own.lse, lse}};
  merge.num_states = 2;
  merge.out = args.out;
  merge.lse = {args.lse, lse};
  merge.batch = batch;
  merge.len = len;
  merge.heads = args.heads_q;
  merge.lse_base2 = args.lse_base2;
}

}  // namespace kiln::api
