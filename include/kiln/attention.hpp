#pragma once

#include <kiln/export.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace kiln {

/// Element type of q, k, v and the output.
enum class DType : std::uint8_t { f16, bf16, f32 };

/// Where query row i stands among the keys when the two lengths differ.
enum class Alignment : std::uint8_t {
  bottom_right,  ///< the last query sees the last key: δ = len_k − len_q (flash_attn's meaning)
  top_left,      ///< the first query stands at the first key: δ = 0 (PyTorch's is_causal)
};

/// Key j is visible iff i + δ − left ≤ j ≤ i + δ + right. A side of −1 is open.
enum class Window : std::uint8_t {
  none,
  sliding,  ///< the sides come with each call
  fixed,    ///< the sides are the config's
};

/// A tensor over [batch, heads_q, len_q, len_k] that comes with each call.
enum class Bias : std::uint8_t {
  none,
  additive,  ///< in the inputs' type, added to the scaled score
  mask,      ///< a byte each; 0 hides the key
};

/// What is fixed when a kernel is compiled. Two equal configs share one kernel.
///
/// score = softcap(scale · q·k) − slope · |i + δ − j| + bias, then what isn't visible is hidden.
struct AttentionConfig {
  DType dtype = DType::bf16;
  int head_dim_qk = 128;
  int head_dim_v = 128;
  bool causal = false;  ///< key j is visible iff j ≤ i + δ
  Alignment alignment = Alignment::bottom_right;
  Window window = Window::none;
  int window_left = -1;   ///< Window::fixed only
  int window_right = -1;  ///< Window::fixed only
  bool softcap = false;   ///< softcap(x) = cap · tanh(x / cap); the cap comes with each call
  bool alibi = false;     ///< the slopes come with each call
  bool sinks = false;     ///< a logit per head, which comes with each call, joins the denominator
  Bias bias = Bias::none;
  bool ragged = false;      ///< sequences have lengths of their own, which lie on the device
  bool paged = false;       ///< keys and values lie in pages that a table lists
  bool output_f32 = false;  ///< the output is float32 whatever the inputs are
  bool allow_tf32 = false;  ///< float32 products may drop to one TF32 pass; default: three, as exact as float32
  /// Decode: rows that a block takes at once, 16, 32 or 64; a row is one new token with one query head of a KV head.
  /// More rows than that work, too, but each further tile of rows reads keys and values again.
  int decode_rows = 16;

  auto operator<=>(const AttentionConfig&) const = default;
};

/// "bf16 d128 causal", for messages and tables.
KILN_API std::string to_string(const AttentionConfig& config);

/// Distances in elements between neighbours along each dimension; the head dimension itself is
/// contiguous. Every stride of a dimension larger than 1 must be a multiple of 16 bytes, at least 0
/// (0 repeats the same data, inputs only) and below 2^40 bytes.
struct Strides {
  std::int64_t batch = 0;
  std::int64_t row = 0;  ///< from one token to the next
  std::int64_t head = 0;

  /// Strides of a dense [batch, length, heads, dim] tensor.
  static constexpr Strides bshd(std::int64_t length, std::int64_t heads, std::int64_t dim) {
    return {length * heads * dim, heads * dim, dim};
  }
  /// Strides of a dense [batch, heads, length, dim] tensor.
  static constexpr Strides bhsd(std::int64_t length, std::int64_t heads, std::int64_t dim) {
    return {heads * length * dim, dim, length * dim};
  }

  bool operator==(const Strides&) const = default;
};

/// Device memory that is read. The pointer is a multiple of 16 bytes.
struct Input {
  const void* data = nullptr;
  Strides strides{};
};

/// Device memory that is written. The pointer is a multiple of 16 bytes; no stride is 0.
struct Output {
  void* data = nullptr;
  Strides strides{};
};

/// Device memory over [batch, heads_q, len_q, len_k]. Neighbouring keys are neighbours; other strides, in elements,
/// are at least 0, and 0 repeats the same data. Aligned as its elements are.
struct BiasInput {
  const void* data = nullptr;
  Strides strides{};
};

/// The lengths of the sequences of one call: device memory, read by the kernel, so a captured graph follows it. Each is
/// optional, and what a sequence has is cut to [0, len_q] or [0, len_k].
struct SequenceLengths {
  /// [batch + 1]: sequence b has rows cu[b] … cu[b + 1] − 1 of a packed [total, heads, dim] tensor, whose
  /// strides.batch is not used.
  const std::int32_t* cu_seqlens_q = nullptr;
  const std::int32_t* cu_seqlens_k = nullptr;  ///< not with pages
  /// [batch]: of the rows that sequence b has, only the first so many count. Other rows of the output stay as they are.
  const std::int32_t* seqused_q = nullptr;
  const std::int32_t* seqused_k = nullptr;
  int total_q = 0;  ///< rows of the packed q; with cu_seqlens_q only
};

/// Where keys and values lie in pages: k and v are [pages, page_size, heads_kv, dim], strides.batch from page to page.
struct Pages {
  /// Device memory, [batch, row_stride]: key j of sequence b is row j % page_size of page table[b][j / page_size].
  const std::int32_t* table = nullptr;
  std::int64_t row_stride = 0;  ///< entries from one sequence's row to the next; at least len_k / page_size, rounded up
  int page_size = 0;            ///< 1 or more

  /// The table as lists one behind the other (decode only; row_stride is not used): device memory, [batch + 1].
  /// Sequence b has pages table[indptr[b]] … table[indptr[b + 1] − 1], and so no more keys than they hold.
  const std::int32_t* indptr = nullptr;
  const std::int32_t* last_page_len = nullptr;  ///< with indptr: [batch], keys in the last page of each sequence
};

/// Which new tokens see each other, where they are a tree and not a chain: device memory, read by the kernel. Beside
/// the cached tokens and what the config hides anyhow, query i sees new token j iff bit j % 32 of word j / 32 of its
/// row is set. Rows hold ⌈len_q / 32⌉ words; strides are in words.
struct TreeMask {
  const std::uint32_t* words = nullptr;  ///< [batch, len_q, ⌈len_q / 32⌉]; null: no tree
  std::int64_t batch_stride = 0;         ///< from one sequence's rows to the next; 0: all have the same tree
  std::int64_t row_stride = 0;           ///< from one query's row to the next
};

/// One forward call: out = softmax(scores) v for every batch and head.
struct ForwardArgs {
  Input q{};             ///< [batch, len_q, heads_q, head_dim_qk], or packed [total_q, heads_q, head_dim_qk]
  Input k{};             ///< [batch, len_k, heads_kv, head_dim_qk], or packed, or pages
  Input v{};             ///< [batch, len_k, heads_kv, head_dim_v], or packed, or pages
  Output out{};          ///< [batch, len_q, heads_q, head_dim_v], or packed [total_q, heads_q, head_dim_v]
  float* lse = nullptr;  ///< optional [batch, heads_q, len_q], or packed [heads_q, total_q], dense

  int batch = 0;
  int len_q = 0;  ///< with lengths on the device: the most that a sequence has
  int len_k = 0;  ///< likewise
  int heads_q = 0;
  int heads_kv = 0;  ///< divides heads_q

  std::optional<float> scale{};  ///< 1/√head_dim_qk unless given
  int window_left = -1;          ///< keys visible before the query's own position; −1: all (Window::sliding only)
  int window_right = -1;         ///< keys visible after it; −1: all (Window::sliding only)
  bool lse_base2 = false;        ///< the LSE as a logarithm to base 2 instead of the natural one

  float softcap = 0;                    ///< above 0 (config.softcap only)
  const float* alibi_slopes = nullptr;  ///< device memory, [heads_q] or [batch, heads_q] (config.alibi only)
  std::int64_t alibi_batch_stride = 0;  ///< from one sequence's slopes to the next; 0: all have the same
  const float* sinks = nullptr;         ///< device memory, [heads_q], natural logits (config.sinks only)
  BiasInput bias{};                     ///< config.bias only
  SequenceLengths lengths{};            ///< config.ragged only
  Pages pages{};                        ///< config.paged only
};

/// One decode call: few new tokens per sequence against a cache of keys and values that holds them already. With the
/// default alignment, the last query stands at the last key.
///
/// What costs nothing while decoding is not the kernel's but the call's: one kernel serves a config with and without
/// `causal`, windows, `sinks` and `ragged`.
struct DecodeArgs {
  Input q{};             ///< [batch, len_q, heads_q, head_dim_qk], or packed [total_q, heads_q, head_dim_qk]
  Input k_cache{};       ///< [batch, max_len_k, heads_kv, head_dim_qk], or pages
  Input v_cache{};       ///< [batch, max_len_k, heads_kv, head_dim_v], or pages
  Output out{};          ///< [batch, len_q, heads_q, head_dim_v], or packed [total_q, heads_q, head_dim_v]
  float* lse = nullptr;  ///< optional [batch, heads_q, len_q], or packed [heads_q, total_q], dense

  /// Device memory, [batch]: how many tokens of the cache are valid, the new ones included. Read by
  /// the kernel, so a captured graph follows it. Null: all max_len_k. Values are clamped to
  /// [0, max_len_k].
  const std::int32_t* lengths = nullptr;

  int batch = 0;
  int len_q = 1;  ///< new tokens of each sequence; with lengths on the device: the most
  int max_len_k = 0;
  int heads_q = 0;
  int heads_kv = 0;  ///< divides heads_q

  std::optional<float> scale{};  ///< 1/√head_dim_qk unless given
  int window_left = -1;          ///< keys visible before the query's own position; −1: all (Window::sliding only)
  int window_right = -1;         ///< keys visible after it; −1: all (Window::sliding only)
  bool lse_base2 = false;        ///< the LSE as a logarithm to base 2 instead of the natural one

  float softcap = 0;                    ///< above 0 (config.softcap only)
  const float* alibi_slopes = nullptr;  ///< device memory, [heads_q] or [batch, heads_q] (config.alibi only)
  std::int64_t alibi_batch_stride = 0;  ///< from one sequence's slopes to the next; 0: all have the same
  const float* sinks = nullptr;         ///< device memory, [heads_q], natural logits (config.sinks only)
  /// Over [batch, heads_q, len_q, max_len_k] (config.bias only). Columns are keys: column 0 is a sequence's first one
  /// behind its left padding.
  BiasInput bias{};
  TreeMask tree{};

  /// How many new tokens each sequence has (config.ragged only): as SequenceLengths' for queries.
  const std::int32_t* cu_seqlens_q = nullptr;
  const std::int32_t* seqused_q = nullptr;
  int total_q = 0;  ///< rows of the packed q; with cu_seqlens_q only

  /// Device memory, [batch]: sequence b has row cache_rows[b] of the cache, or of the page table, instead of row b;
  /// below 0: no keys. Rows are not checked.
  const std::int32_t* cache_rows = nullptr;
  /// Device memory, [batch]: so many positions in front of a sequence's first key don't count, in no length or position
  /// but `lengths` and max_len_k. Windows, ALiBi and the bias's columns count from the first key behind them.
  const std::int32_t* left_padding = nullptr;
  Pages pages{};  ///< config.paged only

  /// Over how many blocks the keys of a sequence and KV head are split. 0: Kiln shares out the work of the whole batch,
  /// however long its sequences, evenly over the GPU. Fixed numbers, or sizes, make a sequence's result independent of
  /// the batch around it, bit for bit.
  int num_splits = 0;
  int split_size = 0;  ///< keys of a split, rounded up to whole tiles of the kernel's; not beside num_splits

  /// Device memory of at least DecodeKernel::workspace_bytes(args), a multiple of 16 bytes, zeroed
  /// once before the first call. Calls leave it fit for the next one. Never share it between streams:
  /// Options::check_workspaces finds where two do.
  void* workspace = nullptr;
  std::size_t workspace_bytes = 0;
};

}  // namespace kiln
