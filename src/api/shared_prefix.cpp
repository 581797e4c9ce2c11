#include "api/check_args.hpp"
#include "api/check_merge_args.hpp"
#include "api/check_values.hpp"
#include "base/fail.hpp"
#include "device/decode_workspace.cuh"
#include "device/mask.cuh"

#include <kiln/shared_prefix.hpp>

#include <algorithm>
#include <string_view>

namespace kiln {
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

/// Partial results stay float32: rounded to 16 bits they would be rounded twice.
AttentionConfig own_config(AttentionConfig config) {
  config.output_f32 = true;
  return config;
}

MergeConfig merge_config(const AttentionConfig& config) {
  return {
      .dtype = DType::f32, .out_dtype = config.output_f32 ? DType::f32 : config.dtype, .head_dim_v = config.head_dim_v};
}

bool is_packed(const DecodeArgs& args) { return args.cu_seqlens_q != nullptr; }

/// New tokens of the whole batch.
std::int64_t tokens_of(const DecodeArgs& args) {
  return is_packed(args) ? args.total_q : std::int64_t{args.batch} * args.len_q;
}

void check_queries(const DecodeArgs& args) {
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

/// Everything about the prefix is of one sequence, which has all new tokens.
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

/// Offsets and size in bytes. The two decode calls share a workspace, one after the other. States begin behind all that
/// counters may ever take, whatever the call: a call leaves counters zero, but states as they were.
struct Layout {
  std::size_t prefix_out;
  std::size_t own_out;
  std::size_t prefix_lse;
  std::size_t own_lse;
  std::size_t bytes;

  Layout(std::size_t decode_bytes, std::int64_t tokens, int heads, int head_dim_v) {
    constexpr auto kCounters = static_cast<std::size_t>(device::kMaxDecodeCounters) * sizeof(std::int32_t);
    const auto rows = static_cast<std::size_t>(tokens) * static_cast<std::size_t>(heads);
    const std::size_t out_bytes = rows * static_cast<std::size_t>(head_dim_v) * sizeof(float);
    prefix_out = std::max(decode_bytes, kCounters);
    own_out = prefix_out + out_bytes;
    prefix_lse = own_out + out_bytes;
    own_lse = prefix_lse + rows * sizeof(float);
    bytes = own_lse + rows * sizeof(float);
  }
};

/// Says which of the calls a refusal is about.
template <class Call>
auto of_prefix(const Call& call) {
  try {
    return call();
  } catch (const Error& error) {
    base::fail(error.code(), "of the shared prefix: {}", error.what());
  }
}

Layout layout_of(const DecodeKernel& prefix_kernel, const DecodeKernel& own_kernel, const DecodeArgs& args,
                 const SharedPrefix& prefix) {
  const std::size_t of_prefix_call =
      of_prefix([&] { return prefix_kernel.workspace_bytes(prefix_args(args, prefix)); });
  return {std::max(own_kernel.workspace_bytes(args), of_prefix_call), tokens_of(args), args.heads_q,
          own_kernel.info().request.config.head_dim_v};
}

void check_workspace(const DecodeArgs& args, std::size_t needed_bytes) {
  if (args.workspace_bytes < needed_bytes) {
    base::fail(ErrorCode::invalid_argument,
               "workspace_bytes is {}: this call needs {} (SharedPrefixDecode::workspace_bytes)", args.workspace_bytes,
               needed_bytes);
  }
  api::check_pointer("workspace", args.workspace, api::kAlignmentBytes);
}

/// The three calls, the partial results between them in the workspace.
struct Calls {
  DecodeArgs prefix;
  DecodeArgs own;
  MergeArgs merge;

  Calls(const DecodeArgs& args, const SharedPrefix& shared, const Layout& layout, int head_dim_v)
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
};

}  // namespace

SharedPrefixDecode::SharedPrefixDecode(DecodeKernel prefix, DecodeKernel own, MergeKernel merge)
    : prefix_(std::move(prefix)), own_(std::move(own)), merge_(std::move(merge)) {}

std::size_t SharedPrefixDecode::workspace_bytes(const DecodeArgs& args, const SharedPrefix& prefix) const {
  api::check_shape(own_.info().request.config, args);
  check_queries(args);
  return api::writes_nothing(args) ? 0 : layout_of(prefix_, own_, args, prefix).bytes;
}

void SharedPrefixDecode::launch(Stream stream, const DecodeArgs& args, const SharedPrefix& prefix) const {
  const auto& config = own_.info().request.config;
  api::check_shape(config, args);
  check_queries(args);
  if (api::writes_nothing(args)) return;
  const Layout layout = layout_of(prefix_, own_, args, prefix);
  check_workspace(args, layout.bytes);
  const Calls calls(args, prefix, layout, config.head_dim_v);
  // All of it before the first is queued: a stream being captured shall get the whole of it or nothing.
  api::check(config, calls.own);
  of_prefix([&] { api::check(prefix_.info().request.config, calls.prefix); });
  api::check(merge_.info().request.merge, calls.merge);
  prefix_.launch(stream, calls.prefix);
  own_.launch(stream, calls.own);
  merge_.launch(stream, calls.merge);
}

SharedPrefixDecode Runtime::shared_prefix_decode(const AttentionConfig& config) const {
  check_config(config);
  return {decode(prefix_config(config)), decode(own_config(config)), merge(merge_config(config))};
}

}  // namespace kiln
