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

enum class Window : std::uint8_t {
  none,
  sliding,  ///< key j is visible iff i + δ − left ≤ j ≤ i + δ + right; the sides come with each call
};

/// What is fixed when a kernel is compiled. Two equal configs share one kernel.
struct AttentionConfig {
  DType dtype = DType::bf16;
  int head_dim_qk = 128;
  int head_dim_v = 128;
  bool causal = false;  ///< key j is visible iff j ≤ i + δ
  Alignment alignment = Alignment::bottom_right;
  Window window = Window::none;
  bool output_f32 = false;  ///< the output is float32 whatever the inputs are
  bool allow_tf32 = false;  ///< float32 products may drop to one TF32 pass; default: three, as exact as float32

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

/// One forward call: out = softmax(scale · q kᵀ + mask) v for every batch and head.
struct ForwardArgs {
  Input q{};             ///< [batch, len_q, heads_q, head_dim_qk]
  Input k{};             ///< [batch, len_k, heads_kv, head_dim_qk]
  Input v{};             ///< [batch, len_k, heads_kv, head_dim_v]
  Output out{};          ///< [batch, len_q, heads_q, head_dim_v]
  float* lse = nullptr;  ///< optional [batch, heads_q, len_q], dense, natural logarithm

  int batch = 0;
  int len_q = 0;
  int len_k = 0;
  int heads_q = 0;
  int heads_kv = 0;  ///< divides heads_q

  std::optional<float> scale{};  ///< 1/√head_dim_qk unless given
  int window_left = -1;          ///< keys visible before the query's own position; −1: all (Window::sliding only)
  int window_right = -1;         ///< keys visible after it; −1: all (Window::sliding only)
};

/// One decode call: one new query token per sequence against a cache of keys and values. The query stands
/// at the last valid key, so a config's `causal` and `alignment` make no difference.
struct DecodeArgs {
  Input q{};             ///< [batch, heads_q, head_dim_qk]; strides.row is not used
  Input k_cache{};       ///< [batch, max_len_k, heads_kv, head_dim_qk]
  Input v_cache{};       ///< [batch, max_len_k, heads_kv, head_dim_v]
  Output out{};          ///< [batch, heads_q, head_dim_v]; strides.row is not used
  float* lse = nullptr;  ///< optional [batch, heads_q], dense, natural logarithm

  /// Device memory, [batch]: how many tokens of the cache are valid, the new one included. Read by
  /// the kernel, so a captured graph follows it. Null: all max_len_k. Values are clamped to
  /// [0, max_len_k].
  const std::int32_t* lengths = nullptr;

  int batch = 0;
  int max_len_k = 0;
  int heads_q = 0;
  int heads_kv = 0;  ///< divides heads_q

  std::optional<float> scale{};  ///< 1/√head_dim_qk unless given
  int window_left = -1;          ///< −1: all keys (Window::sliding only)

  /// Over how many blocks the keys of one sequence and KV head are split; 0 lets Kiln fill the GPU.
  /// A fixed number makes a sequence's result independent of the batch around it.
  int num_splits = 0;

  /// Device memory of at least DecodeKernel::workspace_bytes(args), a multiple of 16 bytes, zeroed
  /// once before the first call. Calls leave it fit for the next one. Never share it between streams.
  void* workspace = nullptr;
  std::size_t workspace_bytes = 0;
};

}  // namespace kiln
