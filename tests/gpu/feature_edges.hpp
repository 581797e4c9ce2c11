#pragma once

#include "gpu/gpu.hpp"
#include "support/element.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

namespace kiln::test {

inline constexpr float kInf = std::numeric_limits<float>::infinity();

/// The requests of some configs in one type, for kernels() of a suite.
inline std::vector<KernelRequest> requests_of(KernelKind kind, DType dtype, std::vector<AttentionConfig> configs) {
  std::vector<KernelRequest> requests;
  for (AttentionConfig& config : configs) {
    config.dtype = dtype;
    requests.push_back({kind, config});
  }
  return requests;
}

/// Tests of one kind of call, once for each type of elements.
template <class Call>
class FeatureEdgesTest : public GpuTest, public ::testing::WithParamInterface<DType> {
 protected:
  using Case = decltype(Call::test);

  /// Compiles what the suite will ask for, unless little of it is to run. It must be all: TearDownTestSuite() looks.
  static void prepare(const std::vector<KernelRequest>& all) {
    constexpr int kFew = 10;
    const auto* suite = ::testing::UnitTest::GetInstance()->current_test_suite();
    if (!Gpu::missing().empty() || suite->test_to_run_count() < kFew) return;
    prepare_for_suite(all);
    compiled_ = Gpu::runtime().stats().compiles;
  }
  static void TearDownTestSuite() {
    if (!compiled_) return;
    EXPECT_EQ(Gpu::runtime().stats().compiles, *compiled_) << "kernels() lacks one";
  }

  /// The config with the type that is tested.
  static AttentionConfig of(AttentionConfig config) {
    config.dtype = GetParam();
    return config;
  }
  void check(Call& call) const {
    call.upload();
    call.launch(stream());
    EXPECT_TRUE(call.matches_reference()) << description(call.test);
  }
  Call run(const Case& test) const {
    Call call(test);
    check(call);
    return call;
  }
  /// Row i of sequence b is 0 for every head, with this LSE.
  static void expect_empty_row(const Call& call, int b, int i, float lse) {
    const std::vector<float> all = call.lse.download();
    const Case& test = call.test;
    for (int head = 0; head < test.heads_q; ++head) {
      ASSERT_EQ(all[static_cast<std::size_t>((b * test.heads_q + head) * test.len_q + i)], lse) << b << " " << head;
      for (int c = 0; c < test.config.head_dim_v; ++c) ASSERT_EQ(call.out.get(b, i, head, c), 0) << b << " " << head;
    }
  }
  /// Most of the first so many rows of sequence 0 and head 0 hold what the inputs' type could not.
  static void expect_more_digits(const Call& call, int rows) {
    int finer = 0;
    const int dim = call.test.config.head_dim_v;
    for (int i = 0; i < rows; ++i)
      for (int c = 0; c < dim; ++c) {
        const float value = call.out.get(0, i, 0, c);
        if (value != round_16(GetParam(), value)) ++finer;
      }
    EXPECT_GT(finer, rows * dim / 2);
  }
  /// K and Q of 128 columns whose scores are ± 4 · magnitude².
  static void put_huge_scores(Call& call, float magnitude, int heads, int keys) {
    call.q.fill(magnitude / 32);
    for (int head = 0; head < heads; ++head)
      for (int j = 0; j < keys; ++j)
        for (int c = 0; c < 128; ++c) call.k.put(0, j, head, c, j % 3 == 0 ? magnitude : -magnitude);
  }

 private:
  static inline std::optional<std::uint64_t> compiled_;
};

}  // namespace kiln::test
