#pragma once

#include <cstdint>
#include <string_view>

/// Random numbers that depend on a seed and a position alone: the same on every machine, in any order
/// and from any thread.
namespace kiln::test {

/// 64 well-mixed bits of a counter (the finaliser of SplitMix64).
inline constexpr std::uint64_t mix(std::uint64_t seed, std::uint64_t counter) {
  std::uint64_t z = seed + (counter + 1) * 0x9e37'79b9'7f4a'7c15U;
  z = (z ^ (z >> 30U)) * 0xbf58'476d'1ce4'e5b9U;
  z = (z ^ (z >> 27U)) * 0x94d0'49bb'1331'11ebU;
  return z ^ (z >> 31U);
}

/// In [0, 1).
inline constexpr float uniform(std::uint64_t seed, std::uint64_t counter) {
  return static_cast<float>(mix(seed, counter) >> 40U) * 0x1p-24F;
}

/// Mean 0, variance 1, and near enough to a normal for attention's inputs: a sum of four uniforms,
/// which asks nothing of the machine's libm.
inline constexpr float normal(std::uint64_t seed, std::uint64_t counter) {
  const std::uint64_t bits = mix(seed, counter);
  const auto sum = (bits & 0xffffU) + ((bits >> 16U) & 0xffffU) + ((bits >> 32U) & 0xffffU) + (bits >> 48U);
  constexpr float kRootThree = 1.7320508F;
  return (static_cast<float>(sum) * 0x1p-16F - 2.0F) * kRootThree;
}

/// A seed out of a name, so that a test's data follow from what it is called (FNV-1a).
inline constexpr std::uint64_t seed_of(std::string_view name) {
  std::uint64_t hash = 0xcbf2'9ce4'8422'2325U;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100'0000'01b3U;
  return hash;
}

/// Draws one after the other, for choosing geometry.
class Draw {
 public:
  explicit constexpr Draw(std::uint64_t seed) : seed_(seed) {}

  /// In [0, bound).
  constexpr int below(int bound) {
    return static_cast<int>(mix(seed_, counter_++) % static_cast<std::uint64_t>(bound));
  }
  template <class Range>
  constexpr auto pick(const Range& range) {
    return range[static_cast<std::size_t>(below(static_cast<int>(range.size())))];
  }

 private:
  std::uint64_t seed_;
  std::uint64_t counter_ = 0;
};

}  // namespace kiln::test
