#pragma once

#include <kiln/runtime.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

namespace kiln::tune {

/// One call to check or to time: a request and the shapes that come with a call. Tensors are dense
/// [batch, length, heads, dim]; a decode call has one query per sequence.
struct Problem {
  KernelRequest request;
  int batch = 1;
  int len_q = 1;
  int len_k = 1;
  int heads_q = 1;
  int heads_kv = 1;
  int window_left = -1;   ///< Window::sliding only
  int window_right = -1;  ///< Window::sliding only

  [[nodiscard]] std::size_t q_elements() const;
  [[nodiscard]] std::size_t k_elements() const;
  [[nodiscard]] std::size_t v_elements() const;
  [[nodiscard]] std::size_t out_elements() const;
  /// Query rows over all heads and sequences: the elements of the LSE.
  [[nodiscard]] std::size_t rows() const;
};

/// Every shape sensible, or Error(invalid_argument) with the value and the limit.
void validate(const Problem& problem);

/// Multiplications and additions of both products, the convention of every peer: half if causal,
/// whatever the window hides is still counted.
double flops(const Problem& problem);
/// Bytes of keys and values, which a decode call must read once.
double kv_bytes(const Problem& problem);

/// "2×16/4 heads, 1024 queries, 4096 keys".
std::string shape_text(const Problem& problem);

}  // namespace kiln::tune
