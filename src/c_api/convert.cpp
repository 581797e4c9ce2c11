#include "c_api/convert.hpp"

#include "base/fail.hpp"

#include <array>
#include <optional>
#include <span>
#include <string>

namespace kiln::c_api {
namespace {

// The names of an enumeration's values, by value. C++ and C number them alike.
template <std::size_t Count>
using Names = std::array<const char*, Count>;
constexpr Names<3> kDTypes = {"KILN_F16", "KILN_BF16", "KILN_F32"};
constexpr Names<2> kFlags = {"no", "yes"};
constexpr Names<2> kAlignments = {"KILN_BOTTOM_RIGHT", "KILN_TOP_LEFT"};
constexpr Names<3> kWindows = {"KILN_WINDOW_NONE", "KILN_WINDOW_SLIDING", "KILN_WINDOW_FIXED"};
constexpr Names<3> kBiases = {"KILN_BIAS_NONE", "KILN_BIAS_ADDITIVE", "KILN_BIAS_MASK"};
constexpr Names<3> kKinds = {"KILN_KIND_FORWARD", "KILN_KIND_DECODE", "KILN_KIND_MERGE"};

template <class Value, class Enum>
constexpr bool same(Value value, Enum c) {
  return static_cast<int>(value) == static_cast<int>(c);
}
static_assert(same(DType::f16, KILN_F16) && same(DType::bf16, KILN_BF16) && same(DType::f32, KILN_F32));
static_assert(same(Alignment::bottom_right, KILN_BOTTOM_RIGHT) && same(Alignment::top_left, KILN_TOP_LEFT));
static_assert(same(Window::none, KILN_WINDOW_NONE) && same(Window::sliding, KILN_WINDOW_SLIDING) &&
              same(Window::fixed, KILN_WINDOW_FIXED));
static_assert(same(Bias::none, KILN_BIAS_NONE) && same(Bias::additive, KILN_BIAS_ADDITIVE) &&
              same(Bias::mask, KILN_BIAS_MASK));
static_assert(same(KernelKind::forward, KILN_KIND_FORWARD) && same(KernelKind::decode, KILN_KIND_DECODE) &&
              same(KernelKind::merge, KILN_KIND_MERGE));
static_assert(kMostMergedStates == KILN_MOST_MERGED_STATES);
static_assert(same(Origin::precompiled, KILN_ORIGIN_PRECOMPILED) && same(Origin::disk, KILN_ORIGIN_DISK) &&
              same(Origin::compiled, KILN_ORIGIN_COMPILED));

[[noreturn]] void fail_choice(const char* member, std::int32_t value, std::span<const char* const> names) {
  std::string choices = fmt::format("0 ({})", names[0]);
  for (std::size_t i = 1; i < names.size(); ++i) {
    choices += fmt::format("{}{} ({})", i + 1 == names.size() ? " or " : ", ", i, names[i]);
  }
  base::fail(ErrorCode::invalid_argument, "{} is {}: it must be {}", member, value, choices);
}

template <class Value, std::size_t Count>
Value choose(std::int32_t value, const char* member, const Names<Count>& names) {
  if (value < 0 || value >= static_cast<std::int32_t>(Count)) fail_choice(member, value, names);
  return static_cast<Value>(value);
}

Strides to_cpp(const kiln_strides& strides) { return {strides.batch, strides.row, strides.head}; }
Input to_cpp(const kiln_input& input) { return {input.data, to_cpp(input.strides)}; }
Output to_cpp(const kiln_output& output) { return {output.data, to_cpp(output.strides)}; }

std::optional<float> scale_of(std::int32_t has_scale, float scale) {
  if (choose<bool>(has_scale, "has_scale", kFlags)) return scale;
  // Nobody sets a scale to have it ignored.
  if (scale != 0) base::fail(ErrorCode::invalid_argument, "scale is {}, but has_scale is 0", scale);
  return std::nullopt;
}

}  // namespace

void check_reserved(std::int32_t reserved) {
  if (reserved != 0) base::fail(ErrorCode::invalid_argument, "reserved is {}: it must be 0", reserved);
}

KernelKind to_kind(std::int32_t kind) { return choose<KernelKind>(kind, "kind", kKinds); }

AttentionConfig to_cpp(const kiln_attention_config& config) {
  check_reserved(config.reserved);
  return {.dtype = choose<DType>(config.dtype, "dtype", kDTypes),
          .head_dim_qk = config.head_dim_qk,
          .head_dim_v = config.head_dim_v,
          .causal = choose<bool>(config.causal, "causal", kFlags),
          .alignment = choose<Alignment>(config.alignment, "alignment", kAlignments),
          .window = choose<Window>(config.window, "window", kWindows),
          .window_left = config.window_left,
          .window_right = config.window_right,
          .softcap = choose<bool>(config.softcap, "softcap", kFlags),
          .alibi = choose<bool>(config.alibi, "alibi", kFlags),
          .sinks = choose<bool>(config.sinks, "sinks", kFlags),
          .bias = choose<Bias>(config.bias, "bias", kBiases),
          .ragged = choose<bool>(config.ragged, "ragged", kFlags),
          .paged = choose<bool>(config.paged, "paged", kFlags),
          .output_f32 = choose<bool>(config.output_f32, "output_f32", kFlags),
          .allow_tf32 = choose<bool>(config.allow_tf32, "allow_tf32", kFlags),
          .decode_rows = config.decode_rows};
}

ForwardArgs to_cpp(const kiln_forward_args& args) {
  check_reserved(args.reserved);
  return {.q = to_cpp(args.q),
          .k = to_cpp(args.k),
          .v = to_cpp(args.v),
          .out = to_cpp(args.out),
          .lse = args.lse,
          .batch = args.batch,
          .len_q = args.len_q,
          .len_k = args.len_k,
          .heads_q = args.heads_q,
          .heads_kv = args.heads_kv,
          .scale = scale_of(args.has_scale, args.scale),
          .window_left = args.window_left,
          .window_right = args.window_right,
          .lse_base2 = choose<bool>(args.lse_base2, "lse_base2", kFlags),
          .softcap = args.softcap,
          .alibi_slopes = args.alibi_slopes,
          .alibi_batch_stride = args.alibi_batch_stride,
          .sinks = args.sinks,
          .bias = {args.bias, to_cpp(args.bias_strides)},
          .lengths = {.cu_seqlens_q = args.cu_seqlens_q,
                      .cu_seqlens_k = args.cu_seqlens_k,
                      .seqused_q = args.seqused_q,
                      .seqused_k = args.seqused_k,
                      .total_q = args.total_q},
          .pages = {.table = args.page_table, .row_stride = args.page_table_stride, .page_size = args.page_size}};
}

DecodeArgs to_cpp(const kiln_decode_args& args) {
  check_reserved(args.reserved);
  return {.q = to_cpp(args.q),
          .k_cache = to_cpp(args.k_cache),
          .v_cache = to_cpp(args.v_cache),
          .out = to_cpp(args.out),
          .lse = args.lse,
          .lengths = args.lengths,
          .batch = args.batch,
          .len_q = args.len_q,
          .max_len_k = args.max_len_k,
          .heads_q = args.heads_q,
          .heads_kv = args.heads_kv,
          .scale = scale_of(args.has_scale, args.scale),
          .window_left = args.window_left,
          .window_right = args.window_right,
          .lse_base2 = choose<bool>(args.lse_base2, "lse_base2", kFlags),
          .softcap = args.softcap,
          .alibi_slopes = args.alibi_slopes,
          .alibi_batch_stride = args.alibi_batch_stride,
          .sinks = args.sinks,
          .bias = {args.bias, to_cpp(args.bias_strides)},
          .tree = {args.tree_words, args.tree_batch_stride, args.tree_row_stride},
          .cu_seqlens_q = args.cu_seqlens_q,
          .seqused_q = args.seqused_q,
          .total_q = args.total_q,
          .cache_rows = args.cache_rows,
          .left_padding = args.left_padding,
          .pages = {.table = args.page_table,
                    .row_stride = args.page_table_stride,
                    .page_size = args.page_size,
                    .indptr = args.page_indptr,
                    .last_page_len = args.last_page_len},
          .num_splits = args.num_splits,
          .split_size = args.split_size,
          .workspace = args.workspace,
          .workspace_bytes = args.workspace_bytes};
}

SharedPrefix to_cpp(const kiln_shared_prefix& prefix) {
  check_reserved(prefix.reserved);
  return {.k = to_cpp(prefix.k),
          .v = to_cpp(prefix.v),
          .len = prefix.len,
          .length = prefix.length,
          .page_table = prefix.page_table};
}

MergeConfig to_cpp(const kiln_merge_config& config) {
  check_reserved(config.reserved);
  return {.dtype = choose<DType>(config.dtype, "dtype", kDTypes),
          .out_dtype = choose<DType>(config.out_dtype, "out_dtype", kDTypes),
          .head_dim_v = config.head_dim_v};
}

MergeArgs to_cpp(const kiln_merge_args& args) {
  check_reserved(args.reserved);
  MergeArgs out{.num_states = args.num_states,
                .out = to_cpp(args.out),
                .lse = {args.lse.data, to_cpp(args.lse.strides)},
                .batch = args.batch,
                .len = args.len,
                .heads = args.heads,
                .lse_base2 = choose<bool>(args.lse_base2, "lse_base2", kFlags)};
  for (std::size_t i = 0; i < out.states.size() && static_cast<std::int64_t>(i) < args.num_states; ++i) {
    const auto& state = args.states[i];
    out.states[i] = {to_cpp(state.out), {state.lse.data, to_cpp(state.lse.strides)}};
  }
  return out;
}

kiln_merge_config to_c(const MergeConfig& config) {
  return {.struct_size = sizeof(kiln_merge_config),
          .dtype = static_cast<std::int32_t>(config.dtype),
          .out_dtype = static_cast<std::int32_t>(config.out_dtype),
          .head_dim_v = config.head_dim_v,
          .reserved = 0};
}

kiln_attention_config to_c(const AttentionConfig& config) {
  return {.struct_size = sizeof(kiln_attention_config),
          .dtype = static_cast<std::int32_t>(config.dtype),
          .head_dim_qk = config.head_dim_qk,
          .head_dim_v = config.head_dim_v,
          .causal = config.causal ? 1 : 0,
          .alignment = static_cast<std::int32_t>(config.alignment),
          .window = static_cast<std::int32_t>(config.window),
          .window_left = config.window_left,
          .window_right = config.window_right,
          .softcap = config.softcap ? 1 : 0,
          .alibi = config.alibi ? 1 : 0,
          .sinks = config.sinks ? 1 : 0,
          .bias = static_cast<std::int32_t>(config.bias),
          .ragged = config.ragged ? 1 : 0,
          .paged = config.paged ? 1 : 0,
          .output_f32 = config.output_f32 ? 1 : 0,
          .allow_tf32 = config.allow_tf32 ? 1 : 0,
          .decode_rows = config.decode_rows,
          .reserved = 0};
}

kiln_progress to_c(const Progress& progress) {
  return {.struct_size = sizeof(kiln_progress),
          .done = progress.done,
          .total = progress.total,
          .seconds_left = progress.seconds_left};
}

kiln_stats to_c(const Stats& stats) {
  return {.struct_size = sizeof(kiln_stats),
          .memory_hits = stats.memory_hits,
          .precompiled_hits = stats.precompiled_hits,
          .disk_hits = stats.disk_hits,
          .compiles = stats.compiles,
          .launches = stats.launches,
          .compile_ms = stats.compile_ms,
          .load_ms = stats.load_ms};
}

kiln_kernel_info to_c(const KernelInfo& info, const kiln_attention_config& config, const kiln_merge_config& merge) {
  const bool merges = info.request.kind == KernelKind::merge;
  return {.struct_size = sizeof(kiln_kernel_info),
          .kind = static_cast<std::int32_t>(info.request.kind),
          .origin = static_cast<std::int32_t>(info.origin),
          .config = merges ? nullptr : &config,
          .target = info.target.c_str(),
          .kernel_id = info.kernel_id.c_str(),
          .registers = info.registers,
          .spill_bytes = info.spill_bytes,
          .smem_bytes = info.smem_bytes,
          .reserved = 0,
          .compile_ms = info.compile_ms,
          .merge_config = merges ? &merge : nullptr};
}

}  // namespace kiln::c_api
