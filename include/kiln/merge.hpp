#pragma once

#include <kiln/attention.hpp>
#include <kiln/export.h>

#include <array>
#include <compare>
#include <string>

namespace kiln {

/// What is fixed when a merging kernel is compiled.
struct MergeConfig {
  DType dtype = DType::bf16;      ///< of the states' outputs
  DType out_dtype = DType::bf16;  ///< of the result
  int head_dim_v = 128;

  auto operator<=>(const MergeConfig&) const = default;
};

/// "f32 to bf16 d128", for messages and tables.
KILN_API std::string to_string(const MergeConfig& config);

/// Device memory that is read, float32 over [batch, len, heads]: strides in elements, at least 0 and below 2^40 bytes.
/// Those of an LSE as forward and decode write it, dense [batch, heads, len], are Strides::bhsd(len, heads, 1); a
/// packed one, [heads, total], is a batch of 1.
struct LseInput {
  const float* data = nullptr;
  Strides strides{};
};

/// The same, written: no stride of a dimension larger than 1 is 0.
struct LseOutput {
  float* data = nullptr;
  Strides strides{};
};

/// What attention over some of the keys gave.
struct PartialState {
  Input out{};     ///< [batch, len, heads, head_dim_v]
  LseInput lse{};  ///< −inf: the row saw no key, and its out counts for nothing, whatever it holds
};

inline constexpr int kMostMergedStates = 16;

/// One merge: attention over all the keys that the states' were over, none of them in two states. Rows that are empty
/// in every state give 0 and −inf. An attention sink belongs to one of the states.
///
/// The result may lie where one of the states does, out and LSE each with that state's strides; else it overlaps none.
struct MergeArgs {
  /// The first num_states count. More than these are merged in several calls, the result of one a state of the next.
  std::array<PartialState, kMostMergedStates> states{};
  int num_states = 0;
  Output out{};     ///< [batch, len, heads, head_dim_v]
  LseOutput lse{};  ///< optional: null data

  int batch = 0;
  int len = 0;
  int heads = 0;

  bool lse_base2 = false;  ///< every LSE, the states' and the result's, is a logarithm to base 2 instead of the natural
};

}  // namespace kiln
