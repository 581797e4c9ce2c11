#include "api/check_args.hpp"

#include "api/check_values.hpp"
#include "base/fail.hpp"
#include "device/decode_workspace.cuh"
#include "device/mask.cuh"
#include "device/tile_schedule.cuh"

#include <cmath>

namespace kiln::api {
namespace {

// Head and batch indices are multiplied in 32 bits inside the kernels' schedules.
constexpr std::int64_t kManyRows = 2;  // of a cache, or pages: their number is not known here
constexpr std::int64_t kBlockLimit = std::int64_t{1} << 31;

void check_optional(const char* name, const void* pointer) {
  if (pointer != nullptr) check_pointer(name, pointer, sizeof(float));
}

void check_heads(int heads_q, int heads_kv) {
  check_size("heads_q", heads_q, 1);
  check_size("heads_kv", heads_kv, 1);
  if (heads_q % heads_kv != 0) {
    base::fail(ErrorCode::invalid_argument, "heads_q {} is not a multiple of heads_kv {}", heads_q, heads_kv);
  }
}

void check_scale(const std::optional<float>& scale) {
  if (scale && !std::isfinite(*scale)) base::fail(ErrorCode::invalid_argument, "scale {} is not finite", *scale);
}

void check_window_side(const AttentionConfig& config, const char* name, int side) {
  if (side < -1) base::fail(ErrorCode::invalid_argument, "{} is {}: it must be -1 (open) or more", name, side);
  if (side != -1 && config.window != Window::sliding) {
    base::fail(ErrorCode::invalid_argument, "{} is {}, but the kernel's config has no sliding window (Window::sliding)",
               name, side);
  }
}

/// Device memory that a config asks for, and that no other config takes.
void check_feature(const char* name, const void* pointer, bool wanted, const char* member) {
  if (wanted) {
    check_pointer(name, pointer, sizeof(float));
  } else if (pointer != nullptr) {
    base::fail(ErrorCode::invalid_argument, "{} is given, but the kernel's config has {} off", name, member);
  }
}

void check_feature_stride(const char* name, std::int64_t stride) {
  if (stride < 0 || stride >= kStrideLimitBytes) {
    base::fail(ErrorCode::invalid_argument, "{} is {} elements: it must be at least 0 and below 2^40", name, stride);
  }
}

void check_softcap(const AttentionConfig& config, float cap) {
  const bool good = config.softcap ? cap > 0 && std::isfinite(cap) : cap == 0;
  if (good) return;
  base::fail(ErrorCode::invalid_argument, "softcap is {}: it must be {}", cap,
             config.softcap ? "finite and more than 0" : "0, since the kernel's config has softcap off");
}

void check_bias(const AttentionConfig& config, const BiasInput& bias, int len_k) {
  const void* const data = bias.data;
  if (config.bias == Bias::none) {
    if (data != nullptr) base::fail(ErrorCode::invalid_argument, "bias is given, but the kernel's config has none");
    return;
  }
  if (len_k > 0) check_pointer("bias", data, config.bias == Bias::mask ? 1 : plan::element_bytes(config.dtype));
  check_feature_stride("bias.strides.batch", bias.strides.batch);
  check_feature_stride("bias.strides.row", bias.strides.row);
  check_feature_stride("bias.strides.head", bias.strides.head);
}

/// What changes scores.
template <class Args>
void check_scores(const AttentionConfig& config, const Args& args, int len_k) {
  check_softcap(config, args.softcap);
  check_feature("alibi_slopes", args.alibi_slopes, config.alibi, "alibi");
  check_feature_stride("alibi_batch_stride", args.alibi_batch_stride);
  check_feature("sinks", args.sinks, config.sinks, "sinks");
  check_bias(config, args.bias, len_k);
}

void check_list(const AttentionConfig& config, const char* name, const std::int32_t* pointer) {
  if (pointer == nullptr) return;
  if (!config.ragged)
    base::fail(ErrorCode::invalid_argument, "{} is given, but the kernel's config has ragged off", name);
  check_pointer(name, pointer, sizeof(std::int32_t));
}

void check_total(int total_q, const std::int32_t* cu_seqlens_q) {
  check_size("total_q", total_q, 0);
  if (total_q > 0 && cu_seqlens_q == nullptr) {
    base::fail(ErrorCode::invalid_argument, "total_q is {}, but cu_seqlens_q is null", total_q);
  }
}

void check_lengths(const AttentionConfig& config, const SequenceLengths& lengths) {
  check_list(config, "cu_seqlens_q", lengths.cu_seqlens_q);
  check_list(config, "cu_seqlens_k", lengths.cu_seqlens_k);
  check_list(config, "seqused_q", lengths.seqused_q);
  check_list(config, "seqused_k", lengths.seqused_k);
  check_total(lengths.total_q, lengths.cu_seqlens_q);
}

/// `rows`: of the table, 1 or more than that.
void check_pages(const AttentionConfig& config, const Pages& pages, int len_k, std::int64_t rows) {
  if (!config.paged) {
    check_feature("pages.table", pages.table, false, "paged");
    check_feature("pages.indptr", pages.indptr, false, "paged");
    check_feature("pages.last_page_len", pages.last_page_len, false, "paged");
    return;
  }
  if (pages.last_page_len != nullptr && pages.indptr == nullptr) {
    base::fail(ErrorCode::invalid_argument, "pages.last_page_len is given, but pages.indptr is null");
  }
  check_size("pages.page_size", pages.page_size, 1);
  if (len_k == 0) return;
  check_pointer("pages.table", pages.table, sizeof(std::int32_t));
  if (pages.indptr != nullptr) {
    check_pointer("pages.indptr", pages.indptr, sizeof(std::int32_t));
    check_pointer("pages.last_page_len", pages.last_page_len, sizeof(std::int32_t));
    return;
  }
  const std::int64_t needed = (std::int64_t{len_k} + pages.page_size - 1) / pages.page_size;
  if (pages.row_stride < needed && rows > 1) {
    base::fail(ErrorCode::invalid_argument, "pages.row_stride is {}: {} keys in pages of {} need {} entries a sequence",
               pages.row_stride, len_k, pages.page_size, needed);
  }
}

void check_page_lists(const Pages& pages) {
  if (pages.indptr == nullptr && pages.last_page_len == nullptr) return;
  base::fail(ErrorCode::invalid_argument, "pages.{} is given, but forward kernels take a table of rows",
             pages.indptr != nullptr ? "indptr" : "last_page_len");
}

void check_blocks(std::int64_t blocks) {
  if (blocks >= kBlockLimit) {
    base::fail(ErrorCode::invalid_argument,
               "the call needs {} blocks: batch, heads and lengths must make fewer than {}", blocks, kBlockLimit);
  }
}

void check_grid(const ForwardArgs& args) {
  constexpr int kLeastTile = 16;
  const std::int64_t of_a_sequence = (std::int64_t{args.len_q} + kLeastTile - 1) / kLeastTile * args.heads_q;
  if (args.lengths.cu_seqlens_q != nullptr) {
    check_blocks((std::int64_t{args.lengths.total_q} / kLeastTile + args.batch) * args.heads_q);
  } else {
    check_blocks(of_a_sequence);
    check_blocks(of_a_sequence * args.batch);
  }
}

}  // namespace

bool writes_nothing(const ForwardArgs& args) {
  return args.batch == 0 || args.len_q == 0 || (args.lengths.cu_seqlens_q != nullptr && args.lengths.total_q == 0);
}

void check(const AttentionConfig& config, const ForwardArgs& args) {
  check_size("batch", args.batch, 0);
  check_length("len_q", args.len_q);
  check_length("len_k", args.len_k);
  check_heads(args.heads_q, args.heads_kv);
  check_scale(args.scale);
  check_window_side(config, "window_left", args.window_left);
  check_window_side(config, "window_right", args.window_right);
  check_lengths(config, args.lengths);
  check_grid(args);
  if (writes_nothing(args)) return;  // so nothing is read
  const bool packed_q = args.lengths.cu_seqlens_q != nullptr;
  const bool packed_k = args.lengths.cu_seqlens_k != nullptr;
  const Sizes query{packed_q ? 1 : args.batch, packed_q ? args.lengths.total_q : args.len_q, args.heads_q};
  Sizes key{packed_k ? 1 : args.batch, args.len_k, args.heads_kv};
  check_page_lists(args.pages);
  check_pages(config, args.pages, args.len_k, args.batch);
  if (config.paged && packed_k) {
    base::fail(ErrorCode::invalid_argument, "cu_seqlens_k is given, but keys in pages are not packed: use seqused_k");
  }
  if (config.paged && args.len_k > 0) key = {.batch = kManyRows, .rows = args.pages.page_size, .heads = args.heads_kv};
  const std::int64_t element_bytes = plan::element_bytes(config.dtype);
  check_tensor("q", args.q.data, args.q.strides, query, false, element_bytes);
  check_tensor("k", args.k.data, args.k.strides, key, false, element_bytes);
  check_tensor("v", args.v.data, args.v.strides, key, false, element_bytes);
  check_tensor("out", args.out.data, args.out.strides, query, true, config.output_f32 ? sizeof(float) : element_bytes);
  check_optional("lse", args.lse);
  check_scores(config, args, args.len_k);
}

bool writes_nothing(const DecodeArgs& args) {
  return args.batch == 0 || args.len_q == 0 || (args.cu_seqlens_q != nullptr && args.total_q == 0);
}

void check_shape(const AttentionConfig& config, const DecodeArgs& args) {
  constexpr int kMostSplits = 4096;
  check_size("batch", args.batch, 0);
  check_length("len_q", args.len_q);
  check_length("max_len_k", args.max_len_k);
  check_heads(args.heads_q, args.heads_kv);
  check_size("num_splits", args.num_splits, 0);
  check_size("split_size", args.split_size, 0);
  if (args.num_splits > kMostSplits) {
    base::fail(ErrorCode::invalid_argument, "num_splits is {}: it must be at most {}", args.num_splits, kMostSplits);
  }
  if (args.num_splits > 0 && args.split_size > 0) {
    base::fail(ErrorCode::invalid_argument, "num_splits is {} and split_size {}: one of them must be 0",
               args.num_splits, args.split_size);
  }
  check_list(config, "cu_seqlens_q", args.cu_seqlens_q);
  check_list(config, "seqused_q", args.seqused_q);
  check_total(args.total_q, args.cu_seqlens_q);
}

void check_split(const DecodeArgs& args, int tile_m, const plan::DecodeSplit& split) {
  constexpr std::int64_t kWorkLimit = std::int64_t{1} << 31;
  const std::int64_t group = args.heads_q / args.heads_kv;
  if (device::pack_heads(static_cast<int>(group), args.len_q).count != static_cast<unsigned>(group)) {
    base::fail(ErrorCode::invalid_argument, "len_q is {}: with {} query heads for each KV head it must be at most {}",
               args.len_q, group, (kWorkLimit - 1) / (group * group));
  }
  // First: what comes next is made of numbers that are no larger.
  if (split.work >= kWorkLimit) {
    base::fail(ErrorCode::invalid_argument,
               "batch {}, len_q {} and max_len_k {} make {} tiles of keys: it must be fewer than {}", args.batch,
               args.len_q, args.max_len_k, split.work, kWorkLimit);
  }
  check_blocks(std::int64_t{split.params.groups} * args.heads_kv);
  if (const std::int64_t partial = split.parts * args.heads_kv * tile_m; partial >= kWorkLimit) {
    base::fail(ErrorCode::invalid_argument, "the call needs {} partial results: it must be fewer than {}", partial,
               kWorkLimit);
  }
  if (split.counters > device::kMaxDecodeCounters) {
    base::fail(ErrorCode::invalid_argument,
               "{} is {}: with {} tiles of rows over all sequences and KV heads, more than {}, it must be 0",
               args.num_splits > 0 ? "num_splits" : "split_size",
               args.num_splits > 0 ? args.num_splits : args.split_size, split.counters, device::kMaxDecodeCounters);
  }
}

void check(const AttentionConfig& config, const DecodeArgs& args) {
  check_shape(config, args);
  check_scale(args.scale);
  check_window_side(config, "window_left", args.window_left);
  check_window_side(config, "window_right", args.window_right);
  if (writes_nothing(args)) return;  // so nothing is read
  const std::int64_t rows = args.cache_rows != nullptr ? kManyRows : args.batch;
  check_pages(config, args.pages, args.max_len_k, rows);
  const std::int64_t element_bytes = plan::element_bytes(config.dtype);
  const bool packed = args.cu_seqlens_q != nullptr;
  const Sizes query{packed ? 1 : args.batch, packed ? args.total_q : args.len_q, args.heads_q};
  Sizes cache{rows, args.max_len_k, args.heads_kv};
  if (config.paged && args.max_len_k > 0) {
    cache = {.batch = kManyRows, .rows = args.pages.page_size, .heads = args.heads_kv};
  }
  check_tensor("q", args.q.data, args.q.strides, query, false, element_bytes);
  check_tensor("k_cache", args.k_cache.data, args.k_cache.strides, cache, false, element_bytes);
  check_tensor("v_cache", args.v_cache.data, args.v_cache.strides, cache, false, element_bytes);
  check_tensor("out", args.out.data, args.out.strides, query, true, config.output_f32 ? sizeof(float) : element_bytes);
  check_optional("lse", args.lse);
  check_optional("lengths", args.lengths);
  check_optional("cache_rows", args.cache_rows);
  check_optional("left_padding", args.left_padding);
  check_optional("tree.words", args.tree.words);
  check_feature_stride("tree.batch_stride", args.tree.batch_stride);
  check_feature_stride("tree.row_stride", args.tree.row_stride);
  check_scores(config, args, args.max_len_k);
}

void check_workspace(const DecodeArgs& args, std::size_t needed_bytes) {
  if (needed_bytes == 0) return;
  if (args.workspace_bytes < needed_bytes) {
    base::fail(ErrorCode::invalid_argument, "workspace_bytes is {}: this call needs {} (DecodeKernel::workspace_bytes)",
               args.workspace_bytes, needed_bytes);
  }
  check_pointer("workspace", args.workspace, kAlignmentBytes);
}

}  // namespace kiln::api
