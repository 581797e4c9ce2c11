#pragma once

#include "gpu/call_case.hpp"

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

namespace kiln::test {

/// Lengths that the kernel reads on the device (config.ragged). An empty list is a null pointer.
struct SequenceCase {
  std::vector<std::int32_t> cu_q{};
  std::vector<std::int32_t> cu_k{};
  std::vector<std::int32_t> used_q{};
  std::vector<std::int32_t> used_k{};
  int total_q = 0;  ///< rows of the packed q: cu_q's last, or more
};

/// All that says what a forward test does. Its name says it too, and gives the seed of the data.
struct ForwardCase {
  AttentionConfig config{};
  int batch = 1;
  int len_q = 128;
  int len_k = 128;
  int heads_q = 2;
  int heads_kv = 2;
  int window_left = -1;
  int window_right = -1;
  Layout layout = Layout::bshd;
  bool lse = true;
  std::optional<float> scale{};
  bool lse_base2 = false;
  float softcap = 20;                ///< config.softcap only
  bool slopes_per_sequence = false;  ///< config.alibi only
  BiasShape bias{};                  ///< config.bias only
  SequenceCase sequences{};          ///< config.ragged only
  int page_size = 16;                ///< config.paged only
  std::uint64_t seed = 0;            ///< of the data, beside the name
};

/// "bf16_d64x128_causal_softcap_b2_q113_k239_h6x2_padded_lse_s7"
std::string name_of(const ForwardCase& test);

/// All but the seed, each sequence's lengths included: two cases of one description differ in their data only.
std::string description(const ForwardCase& test);
void PrintTo(const ForwardCase& test, std::ostream* out);

}  // namespace kiln::test
