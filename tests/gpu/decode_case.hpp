#pragma once

#include "gpu/call_case.hpp"

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

namespace kiln::test {

/// How many new tokens each sequence has (config.ragged). An empty list is a null pointer.
struct NewTokens {
  std::vector<std::int32_t> cu{};
  std::vector<std::int32_t> used{};
  int total = 0;  ///< rows of the packed q: cu's last, or more
};

/// Which new tokens see each other.
enum class Tree : std::uint8_t {
  none,      ///< no mask
  branches,  ///< a token sees itself and its ancestors, a tree for each sequence
  shared,    ///< the same tree for all sequences
  bits,      ///< any bits at all, also none
};

/// Pages as lists one behind the other: sequence b has pages indptr[b] … indptr[b + 1] − 1 of the list. Empty: rows.
struct PageLists {
  std::vector<std::int32_t> indptr{};
  std::vector<std::int32_t> last_page_len{};
};

/// All that says what a decode test does. Its name says it too, and gives the seed of the data.
struct DecodeCase {
  AttentionConfig config{};
  int len_q = 1;  ///< the most
  int max_len_k = 256;
  int heads_q = 8;
  int heads_kv = 2;
  std::vector<std::int32_t> lengths = {256};  ///< one a sequence: how many there are is the batch
  bool pass_lengths = true;                   ///< false: a null pointer, which means max_len_k
  int window_left = -1;
  int window_right = -1;
  int num_splits = 0;
  int split_size = 0;
  Layout layout = Layout::bshd;
  bool lse = true;
  std::optional<float> scale{};
  bool lse_base2 = false;
  float softcap = 20;                ///< config.softcap only
  bool slopes_per_sequence = false;  ///< config.alibi only
  BiasShape bias{};                  ///< config.bias only
  Tree tree = Tree::none;
  NewTokens tokens{};                      ///< config.ragged only
  std::vector<std::int32_t> cache_rows{};  ///< empty: a null pointer
  std::vector<std::int32_t> left_padding{};
  int page_size = 16;      ///< config.paged only
  PageLists page_lists{};  ///< config.paged only
  std::uint64_t seed = 0;  ///< of the data, beside the name

  [[nodiscard]] int batch() const { return static_cast<int>(lengths.size()); }
};

/// "bf16_d128_paged_b3_q4_n1024_h8x2_bhsd_rows_page16_splits3_lse_s7"
std::string name_of(const DecodeCase& test);

/// All but the seed, each sequence's lengths included: two cases of one description differ in their data only.
std::string description(const DecodeCase& test);
void PrintTo(const DecodeCase& test, std::ostream* out);

}  // namespace kiln::test
