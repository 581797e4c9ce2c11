#pragma once

#include "gpu/tensor.hpp"

#include <kiln/attention.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// What the cases of forward and decode tests have in common: parts of their names.
namespace kiln::test {

/// Which dimensions a bias or mask tensor has of its own; along the others it repeats.
struct BiasShape {
  bool batch = true;
  bool heads = true;
  bool rows = true;

  bool operator==(const BiasShape&) const = default;
};

// Names hold letters, digits and underscores only.
std::string_view name_of(DType dtype);
std::string sides(int left, int right);
std::string mille(float value);
std::string bias_name(const BiasShape& shape);

/// "bf16_d64x128_causal_softcap"
std::string name_of(const AttentionConfig& config);

/// What changes a call's scores, its results, and the seed: how every case's name ends.
template <class Case>
std::string end_of_name(const Case& test) {
  const AttentionConfig& config = test.config;
  std::string name;
  if (config.softcap) name += fmt::format("_cap{:.0f}", test.softcap);
  if (config.alibi && test.slopes_per_sequence) name += "_slopes";
  if (config.bias != Bias::none) name += bias_name(test.bias);
  if (test.scale) name += "_scale" + mille(*test.scale);
  if (test.lse) name += test.lse_base2 ? "_lse2" : "_lse";
  if (test.seed != 0) name += fmt::format("_s{}", test.seed);
  return name;
}

using NamedLists = std::initializer_list<std::pair<std::string_view, const std::vector<std::int32_t>&>>;

/// A case's name without the seed, and those lists that aren't empty.
template <class Case>
std::string describe(Case test, NamedLists lists) {
  test.seed = 0;
  std::string text = name_of(test);
  for (const auto& [name, values] : lists)
    if (!values.empty()) text += fmt::format(" {} {}", name, values);
  return text;
}

}  // namespace kiln::test
