#pragma once

#include <kiln/attention.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

/// Attention on the CPU, as docs say it means: the judge of every kernel. Plain on purpose.
namespace kiln::test {

/// 16-bit elements on the host, laid out as the strides say.
struct View {
  const std::uint16_t* data = nullptr;
  Strides strides{};

  [[nodiscard]] const std::uint16_t* at(int batch, int row, int head) const {
    return data + batch * strides.batch + row * strides.row + head * strides.head;
  }
};

/// One call. A decode call is one with len_q 1 and `lengths`.
struct Problem {
  AttentionConfig config;
  int batch = 1;
  int len_q = 1;
  int len_k = 1;
  int heads_q = 1;
  int heads_kv = 1;
  float scale = 1;
  int window_left = -1;
  int window_right = -1;
  /// How many keys each sequence has, clamped to [0, len_k]; empty: len_k.
  std::vector<std::int32_t> lengths;
  View q;
  View k;
  View v;

  [[nodiscard]] int keys_of(int sequence) const;
};

/// Key j is visible to query i of a sequence with `len_k` keys: the definition, word by word.
bool visible(const Problem& problem, int i, int j, int len_k);

/// The visible keys of a query, [begin, end): they are always neighbours. Empty: begin == end.
struct KeyRange {
  int begin = 0;
  int end = 0;
};
KeyRange visible_keys(const Problem& problem, int i, int len_k);

struct Result {
  std::vector<double> out;  ///< [batch, len_q, heads_q, head_dim_v], dense
  std::vector<double> lse;  ///< [batch, heads_q, len_q], dense, natural logarithm

  [[nodiscard]] std::size_t out_at(const Problem& problem, int batch, int i, int head) const;
};

/// In float64 throughout.
Result reference(const Problem& problem);

/// Step by step in the tensors' own type: scores, scaled scores, probabilities and output are each
/// rounded to it. Its error says what the type allows.
Result naive16(const Problem& problem);

}  // namespace kiln::test
