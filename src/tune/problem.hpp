#pragma once

#include <kiln/runtime.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace kiln::tune {

/// One call to check or to time: a request and the shapes that come with a call. Tensors are dense [batch, length,
/// heads, dim], or keys and values in shuffled pages.
struct Problem {
  KernelRequest request;
  int batch = 1;
  int len_q = 1;
  int len_k = 1;
  int heads_q = 1;
  int heads_kv = 1;
  int window_left = -1;   ///< Window::sliding only
  int window_right = -1;  ///< Window::sliding only
  int page_size = 16;     ///< of a paged config
  int num_splits = 0;     ///< decode only, as DecodeArgs has it
  int split_size = 0;     ///< likewise
  /// Keys of each sequence, for decode and ragged configs; empty: as the data is drawn, at most len_k.
  std::vector<std::int32_t> lengths{};

  [[nodiscard]] std::size_t q_elements() const;
  [[nodiscard]] std::size_t k_elements() const;
  [[nodiscard]] std::size_t v_elements() const;
  [[nodiscard]] std::size_t out_elements() const;
  [[nodiscard]] std::size_t bias_elements() const;
  /// Query rows over all heads and sequences: the elements of the LSE.
  [[nodiscard]] std::size_t rows() const;

  /// Whether the kernel takes each sequence's number of keys from the device.
  [[nodiscard]] bool has_lengths() const;
  /// Entries of a sequence's row of the page table.
  [[nodiscard]] int pages_of_a_sequence() const;
  /// Rows of keys that a sequence has room for.
  [[nodiscard]] int key_rows() const;
};

/// The output's type.
DType output_type(const AttentionConfig& config);
/// Of a bias: the inputs' type, or a mask's bytes.
int bias_element_bytes(const AttentionConfig& config);

/// Every shape sensible, or Error(invalid_argument) with the value and the limit.
void validate(const Problem& problem);

/// What one sequence has.
struct Lengths {
  int q = 0;
  int k = 0;
};

/// Where a query stands among the keys.
int position_of(const Problem& problem, Lengths lengths, int query);

/// The keys a query sees: first ≤ j < end. Empty if end ≤ first.
struct KeyRange {
  int first = 0;
  int end = 0;
};
KeyRange visible_keys(const Problem& problem, Lengths lengths, int query);

/// Multiplications and additions of both products, the convention of every peer: half if causal,
/// whatever the window hides is still counted.
double flops(const Problem& problem);
/// Bytes of those keys and values that some query sees, which a decode call must read once.
double kv_bytes(const Problem& problem);

/// "2×16/4 heads, 1024 queries, 4096 keys".
std::string shape_text(const Problem& problem);

}  // namespace kiln::tune
