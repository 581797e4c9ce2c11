// The small cover that compute-sanitizer runs (--gtest_filter='*Sanitizer*'): under its tools a kernel
// is some hundred times slower, so few and small, but every path of both kernels.
#include "gpu/configs.hpp"
#include "gpu/decode_call.hpp"

namespace kiln::test {
namespace {

class ForwardSanitizer : public GpuTest, public ::testing::WithParamInterface<ForwardCase> {};

TEST_P(ForwardSanitizer, IsCleanAndRight) {
  ForwardCall call(GetParam());
  call.upload();
  call.launch(stream());
  EXPECT_TRUE(call.matches_reference());
}

std::vector<ForwardCase> forward_cases() {
  std::vector<ForwardCase> cases;
  const auto add = [&](int dim, const Mask& mask, int len_q, int len_k, Layout layout) {
    cases.push_back({.config = make_config(cases.size() % 2 == 0 ? DType::bf16 : DType::f16, {dim, dim}, mask),
                     .len_q = len_q,
                     .len_k = len_k,
                     .heads_q = 2,
                     .heads_kv = 1,
                     .layout = layout});
    if (mask.window == Window::sliding) {
      cases.back().window_left = 70;
      cases.back().window_right = 5;
    }
  };
  add(128, kMasks[0], 130, 200, Layout::bshd);
  add(128, kMasks[1], 150, 131, Layout::padded);
  add(64, kMasks[1], 200, 200, Layout::padded);
  add(64, kMasks[3], 200, 300, Layout::bhsd);
  add(64, kMasks[0], 1, 1, Layout::padded);
  add(128, kMasks[0], 7, 0, Layout::bshd);
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Small, ForwardSanitizer, ::testing::ValuesIn(forward_cases()),
                         [](const auto& test) { return name_of(test.param); });

class DecodeSanitizer : public GpuTest, public ::testing::WithParamInterface<DecodeCase> {};

TEST_P(DecodeSanitizer, IsCleanAndRight) {
  DecodeCall call(GetParam());
  call.upload();
  call.launch(stream());
  call.launch(stream());  // the second finds the workspace as the first left it
  EXPECT_TRUE(call.matches_reference());
}

std::vector<DecodeCase> decode_cases() {
  return {
      {.config = {}, .max_len_k = 300, .lengths = {300, 0, 65}, .num_splits = 4, .layout = Layout::padded},
      {.config = {.dtype = DType::f16},
       .max_len_k = 131,
       .heads_q = 3,
       .heads_kv = 1,
       .lengths = {131},
       .num_splits = 1},
      {.config = {.head_dim_qk = 64, .head_dim_v = 64, .window = Window::sliding},
       .max_len_k = 300,
       .lengths = {299, 3},
       .window_left = 100,
       .num_splits = 3,
       .layout = Layout::bhsd},
      {.config = {.dtype = DType::f16, .head_dim_qk = 64, .head_dim_v = 64},
       .max_len_k = 200,
       .heads_q = 20,
       .heads_kv = 1,
       .lengths = {200},
       .num_splits = 0,
       .layout = Layout::padded},
  };
}

INSTANTIATE_TEST_SUITE_P(Small, DecodeSanitizer, ::testing::ValuesIn(decode_cases()),
                         [](const auto& test) { return name_of(test.param); });

}  // namespace
}  // namespace kiln::test
