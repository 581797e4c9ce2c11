#pragma once

#include <kiln/attention.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

/// Attention on the CPU, as docs say it means: the judge of every kernel. Plain on purpose.
namespace kiln::test {

/// Elements on the host, laid out as the strides say.
struct View {
  const void* data = nullptr;
  Strides strides{};

  [[nodiscard]] std::int64_t offset(std::int64_t batch, std::int64_t row, std::int64_t head) const {
    return batch * strides.batch + row * strides.row + head * strides.head;
  }
  /// For 16-bit elements.
  [[nodiscard]] const std::uint16_t* at(int batch, int row, int head) const {
    return static_cast<const std::uint16_t*>(data) + offset(batch, row, head);
  }
};

/// How many queries and keys a sequence has.
struct Lengths {
  int q = 0;
  int k = 0;
};

/// One call, forward or decode, with all that lies on the device on the host.
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
  std::vector<std::int32_t> lengths{};
  View q{};
  View k{};
  View v{};

  bool lse_base2 = false;
  float softcap = 0;
  std::vector<float> alibi_slopes{};  ///< [heads_q] or [batch, heads_q]
  std::vector<float> sinks{};         ///< [heads_q]
  View bias{};                        ///< [batch, heads_q, len_q, len_k]
  std::vector<std::int32_t> lengths_q{};
  std::vector<std::int32_t> cu_seqlens_q{};  ///< empty: sequences lie strides.batch apart
  std::vector<std::int32_t> cu_seqlens_k{};
  int total_q = 0;
  std::vector<std::int32_t> page_table{};  ///< empty: keys are not in pages
  std::int64_t page_row_stride = 0;
  int page_size = 0;
  std::vector<std::int32_t> page_indptr{};    ///< empty: the table has a row for each sequence
  std::vector<std::int32_t> last_page_len{};  ///< with page_indptr
  std::vector<std::int32_t> cache_rows{};     ///< whose row of k, v or the table; below 0: no keys. Empty: its own
  std::vector<std::int32_t> left_padding{};   ///< positions in front of a sequence's first key
  std::vector<std::uint32_t> tree{};          ///< bits of the last keys, which are the queries' own; empty: all are set
  std::int64_t tree_batch_stride = 0;
  std::int64_t tree_row_stride = 0;

  [[nodiscard]] int queries_of(int sequence) const;
  [[nodiscard]] int keys_of(int sequence) const;
  [[nodiscard]] Lengths lengths_of(int sequence) const { return {queries_of(sequence), keys_of(sequence)}; }
  /// Where key 0 of a sequence lies in its row of the cache, or of the page table.
  [[nodiscard]] int padding_of(int sequence) const;
  [[nodiscard]] std::int64_t cache_row_of(int sequence) const;
  /// The entry of the page table that says where position `position` of a sequence lies.
  [[nodiscard]] std::size_t page_entry(int sequence, int position) const;

  /// Elements from a tensor's start to a row of a head: of q or the output, and of k or v.
  [[nodiscard]] std::int64_t query_offset(const View& tensor, int sequence, int i, int head) const;
  [[nodiscard]] std::int64_t key_offset(const View& tensor, int sequence, int j, int kv_head) const;

  /// Rows of all queries together, those that no sequence has included.
  [[nodiscard]] std::size_t rows() const;
};

/// Key j is visible to query i of a sequence, as far as positions say: the definition, word by word.
bool visible(const Problem& problem, int i, int j, Lengths lengths);

/// The tree lets query i see key j: where there is none, and of keys that are older than the queries, always.
bool in_tree(const Problem& problem, int sequence, int i, int j, Lengths lengths);

/// The keys of a query that positions let it see, [begin, end): they are always neighbours. Empty: begin == end.
struct KeyRange {
  int begin = 0;
  int end = 0;
};
KeyRange visible_keys(const Problem& problem, int i, Lengths lengths);

/// NaN stands for what the call doesn't write.
struct Result {
  std::vector<double> out;  ///< [batch, len_q, heads_q, head_dim_v], or packed [total_q, heads_q, head_dim_v], dense
  std::vector<double> lse;  ///< [batch, heads_q, len_q], or packed [heads_q, total_q], dense

  [[nodiscard]] std::size_t out_at(const Problem& problem, int batch, int i, int head) const;
  [[nodiscard]] std::size_t lse_at(const Problem& problem, int batch, int i, int head) const;
};

/// In float64 throughout.
Result reference(const Problem& problem);

/// Step by step in the tensors' own type: scores, what is done to them, probabilities and output are each
/// rounded to it; with one TF32 pass allowed, what the products take. Its error says what the type allows.
Result naive(const Problem& problem);

}  // namespace kiln::test
