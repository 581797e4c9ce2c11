// The small cover that compute-sanitizer runs (--gtest_filter='*Sanitizer*'): under its tools a kernel
// is some hundred times slower, so few and small, but every path of both kernels.
#include "gpu/configs.hpp"
#include "gpu/decode_call.hpp"
#include "gpu/forward_call.hpp"

namespace kiln::test {
namespace {

class ForwardSanitizer : public GpuTest, public ::testing::WithParamInterface<ForwardCase> {};

TEST_P(ForwardSanitizer, IsCleanAndRight) {
  ForwardCall call(GetParam());
  call.upload();
  call.launch(stream());
  EXPECT_TRUE(call.matches_reference());
}

/// Each feature once or twice, with the others it meets in one kernel.
std::vector<ForwardCase> feature_cases() {
  return {
      {.config = {.causal = true, .softcap = true, .alibi = true, .sinks = true},
       .batch = 2,
       .len_q = 140,
       .len_k = 150,
       .heads_q = 6,
       .slopes_per_sequence = true},
      {.config = {.dtype = DType::f16, .head_dim_qk = 64, .head_dim_v = 64, .bias = Bias::additive},
       .len_q = 70,
       .len_k = 131,
       .bias = {.batch = true, .heads = false, .rows = true}},
      {.config = {.head_dim_qk = 40, .head_dim_v = 40, .sinks = true, .bias = Bias::mask}, .len_q = 33, .len_k = 65},
      {.config = {.causal = true, .ragged = true},
       .batch = 4,
       .len_q = 140,
       .len_k = 90,
       .heads_q = 6,
       .layout = Layout::padded,
       .sequences = {.cu_q = {0, 140, 140, 141, 160}, .cu_k = {0, 90, 91, 91, 160}, .total_q = 163}},
      {.config =
           {.dtype = DType::f16, .head_dim_qk = 64, .head_dim_v = 64, .causal = true, .ragged = true, .paged = true},
       .batch = 3,
       .len_q = 20,
       .len_k = 150,
       .heads_q = 8,
       .sequences = {.cu_q = {0, 20, 21, 21}, .used_k = {150, 64, 0}, .total_q = 21},
       .page_size = 5},
      {.config = {.window = Window::fixed, .window_left = 30, .window_right = 2, .paged = true},
       .batch = 2,
       .len_q = 70,
       .len_k = 90,
       .page_size = 16},
      {.config = {.dtype = DType::f32, .head_dim_qk = 72, .head_dim_v = 72, .causal = true},
       .len_q = 70,
       .len_k = 90,
       .layout = Layout::padded},
      {.config = {.dtype = DType::f32, .head_dim_qk = 32, .head_dim_v = 32, .ragged = true, .allow_tf32 = true},
       .batch = 2,
       .len_q = 70,
       .len_k = 90,
       .sequences = {.used_q = {3, 70}, .used_k = {90, 64}}},
      {.config = {.head_dim_qk = 192, .head_dim_v = 128, .output_f32 = true}, .len_q = 70, .len_k = 90},
      {.config = {.dtype = DType::f16, .head_dim_qk = 256, .head_dim_v = 256, .causal = true},
       .len_q = 70,
       .len_k = 70,
       .lse_base2 = true},
  };
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
  for (const ForwardCase& test : feature_cases()) cases.push_back(test);
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
      {.config = {.causal = true, .sinks = true, .ragged = true, .paged = true},
       .len_q = 20,
       .max_len_k = 200,
       .lengths = {200, 65, 0, 20},
       .layout = Layout::padded,
       .tree = Tree::branches,
       .tokens = {.cu = {0, 20, 21, 22, 31}, .total = 33},
       .left_padding = {3, 0, 0, 7},
       .page_size = 5},
      {.config = {.dtype = DType::f16, .paged = true, .decode_rows = 32},
       .len_q = 9,
       .max_len_k = 150,
       .lengths = {150, 64, 33},
       .split_size = 64,
       .page_size = 16,
       .page_lists = {.indptr = {1, 11, 12, 12}, .last_page_len = {6, 7, 1}}},
      {.config = {.head_dim_qk = 72, .head_dim_v = 72, .softcap = true, .alibi = true, .bias = Bias::additive},
       .len_q = 3,
       .max_len_k = 150,
       .heads_q = 6,
       .lengths = {150, 3},
       .num_splits = 3,
       .slopes_per_sequence = true,
       .cache_rows = {2, -1}},
      {.config = {.head_dim_qk = 192,
                  .head_dim_v = 128,
                  .bias = Bias::mask,
                  .ragged = true,
                  .output_f32 = true,
                  .decode_rows = 64},
       .len_q = 33,
       .max_len_k = 130,
       .heads_q = 4,
       .lengths = {130, 129},
       .lse_base2 = true,
       .tree = Tree::bits,
       .tokens = {.used = {33, 1}}},
      {.config = {.dtype = DType::f16, .head_dim_qk = 256, .head_dim_v = 256, .causal = true},
       .len_q = 17,
       .max_len_k = 140,
       .heads_q = 4,
       .lengths = {140, 7},
       .split_size = 32},
  };
}

INSTANTIATE_TEST_SUITE_P(Small, DecodeSanitizer, ::testing::ValuesIn(decode_cases()),
                         [](const auto& test) { return name_of(test.param); });

}  // namespace
}  // namespace kiln::test
