// What a caller may get wrong. Every message names the value and the limit; after it the GPU and the
// kernel are as good as before.
#include "gpu/decode_call.hpp"
#include "gpu/forward_call.hpp"
#include "support/expect_error.hpp"

#include <functional>
#include <limits>

namespace kiln::test {
namespace {

using ::testing::HasSubstr;

constexpr int kMostInt = std::numeric_limits<int>::max();

std::uint16_t* shifted(const void* pointer, std::ptrdiff_t elements) {
  return static_cast<std::uint16_t*>(const_cast<void*>(pointer)) + elements;
}

struct ForwardMisuse {
  const char* name;
  std::function<void(ForwardArgs&)> spoil;
  std::vector<std::string> words;
};

std::vector<ForwardMisuse> forward_misuses() {
  return {
      {"null_q", [](auto& a) { a.q.data = nullptr; }, {"q", "null"}},
      {"null_k", [](auto& a) { a.k.data = nullptr; }, {"k", "null"}},
      {"null_v", [](auto& a) { a.v.data = nullptr; }, {"v", "null"}},
      {"null_out", [](auto& a) { a.out.data = nullptr; }, {"out", "null"}},
      {"misaligned_q", [](auto& a) { a.q.data = shifted(a.q.data, 1); }, {"q", "16 bytes"}},
      {"misaligned_k", [](auto& a) { a.k.data = shifted(a.k.data, 4); }, {"k", "16 bytes"}},
      {"misaligned_out", [](auto& a) { a.out.data = shifted(a.out.data, 7); }, {"out", "16 bytes"}},
      {"negative_stride", [](auto& a) { a.k.strides.row = -128; }, {"k", "row", "-128", "0"}},
      {"odd_stride", [](auto& a) { a.v.strides.head = 132; }, {"v", "head", "132", "16 bytes"}},
      {"huge_stride", [](auto& a) { a.q.strides.batch = std::int64_t{1} << 39; }, {"q", "batch", "2^40"}},
      {"repeated_output", [](auto& a) { a.out.strides.row = 0; }, {"out", "row", "0"}},
      {"negative_batch", [](auto& a) { a.batch = -1; }, {"batch", "-1"}},
      {"negative_len_q", [](auto& a) { a.len_q = -3; }, {"len_q", "-3"}},
      {"negative_len_k", [](auto& a) { a.len_k = -7; }, {"len_k", "-7"}},
      {"no_heads", [](auto& a) { a.heads_kv = 0; }, {"heads_kv", "0"}},
      {"heads_that_do_not_divide", [](auto& a) { a.heads_q = 5; }, {"5", "2"}},
      {"infinite_scale", [](auto& a) { a.scale = std::numeric_limits<float>::infinity(); }, {"scale", "inf"}},
      {"window_without_window", [](auto& a) { a.window_left = 5; }, {"window_left", "5"}},
      {"misaligned_lse", [](auto& a) { a.lse = reinterpret_cast<float*>(shifted(a.lse, 1)); }, {"lse", "4 bytes"}},
  };
}

class ForwardMisuses : public GpuTest, public ::testing::WithParamInterface<ForwardMisuse> {};

TEST_P(ForwardMisuses, NameTheValueAndTheLimit) {
  ForwardCall call({.batch = 2, .len_q = 40, .len_k = 50, .heads_q = 4});
  call.upload();
  const ForwardKernel kernel = Gpu::runtime().forward(call.test.config);
  ForwardArgs args = call.args();
  GetParam().spoil(args);
  const std::string words = test::error_of(ErrorCode::invalid_argument, [&] { kernel.launch(stream(), args); });
  for (const std::string& word : GetParam().words) EXPECT_THAT(words, HasSubstr(word));
  kernel.launch(stream(), call.args());
  EXPECT_TRUE(call.matches_reference());
}

INSTANTIATE_TEST_SUITE_P(Forward, ForwardMisuses, ::testing::ValuesIn(forward_misuses()),
                         [](const auto& test) { return std::string(test.param.name); });

/// A call with everything, so that everything can be got wrong.
ForwardCase with_everything() {
  return {
      .config = {.softcap = true, .alibi = true, .sinks = true, .bias = Bias::additive, .ragged = true, .paged = true},
      .batch = 2,
      .len_q = 40,
      .len_k = 50,
      .heads_q = 4,
      .sequences = {.cu_q = {0, 40, 57}, .used_k = {50, 33}, .total_q = 57}};
}

template <class T>
const T* shifted_bytes(const T* pointer, std::ptrdiff_t bytes) {
  return reinterpret_cast<const T*>(reinterpret_cast<const std::byte*>(pointer) + bytes);
}

std::vector<ForwardMisuse> feature_misuses() {
  return {
      {"no_softcap", [](auto& a) { a.softcap = 0; }, {"softcap", "0", "more than 0"}},
      {"null_slopes", [](auto& a) { a.alibi_slopes = nullptr; }, {"alibi_slopes", "null"}},
      {"negative_slope_stride", [](auto& a) { a.alibi_batch_stride = -4; }, {"alibi_batch_stride", "-4"}},
      {"null_sinks", [](auto& a) { a.sinks = nullptr; }, {"sinks", "null"}},
      {"misaligned_sinks", [](auto& a) { a.sinks = shifted_bytes(a.sinks, 2); }, {"sinks", "4 bytes"}},
      {"null_bias", [](auto& a) { a.bias.data = nullptr; }, {"bias", "null"}},
      {"misaligned_bias",
       [](auto& a) { a.bias.data = shifted_bytes(static_cast<const std::byte*>(a.bias.data), 1); },
       {"bias", "2 bytes"}},
      {"negative_bias_stride", [](auto& a) { a.bias.strides.row = -1; }, {"bias.strides.row", "-1"}},
      {"misaligned_lengths",
       [](auto& a) { a.lengths.seqused_k = shifted_bytes(a.lengths.seqused_k, 1); },
       {"seqused_k", "4 bytes"}},
      {"packed_keys_in_pages",
       [](auto& a) { a.lengths.cu_seqlens_k = a.lengths.cu_seqlens_q; },
       {"cu_seqlens_k", "seqused_k"}},
      {"total_without_cu_seqlens", [](auto& a) { a.lengths.cu_seqlens_q = nullptr; }, {"total_q", "57"}},
      {"no_page_size", [](auto& a) { a.pages.page_size = 0; }, {"page_size", "0", "1 or more"}},
      {"null_page_table", [](auto& a) { a.pages.table = nullptr; }, {"pages.table", "null"}},
      {"short_page_table", [](auto& a) { a.pages.row_stride = 2; }, {"row_stride", "2", "4 entries"}},
  };
}

class FeatureMisuses : public GpuTest, public ::testing::WithParamInterface<ForwardMisuse> {};

TEST_P(FeatureMisuses, NameTheValueAndTheLimit) {
  ForwardCall call(with_everything());
  call.upload();
  const ForwardKernel kernel = Gpu::runtime().forward(call.test.config);
  ForwardArgs args = call.args();
  GetParam().spoil(args);
  const std::string words = test::error_of(ErrorCode::invalid_argument, [&] { kernel.launch(stream(), args); });
  for (const std::string& word : GetParam().words) EXPECT_THAT(words, HasSubstr(word));
  kernel.launch(stream(), call.args());
  EXPECT_TRUE(call.matches_reference());
}

INSTANTIATE_TEST_SUITE_P(Features, FeatureMisuses, ::testing::ValuesIn(feature_misuses()),
                         [](const auto& test) { return std::string(test.param.name); });

struct DecodeMisuse {
  const char* name;
  std::function<void(DecodeArgs&)> spoil;
  std::vector<std::string> words;
};

std::vector<DecodeMisuse> decode_misuses() {
  return {
      {"null_q", [](auto& a) { a.q.data = nullptr; }, {"q", "null"}},
      {"null_k_cache", [](auto& a) { a.k_cache.data = nullptr; }, {"k_cache", "null"}},
      {"misaligned_v_cache", [](auto& a) { a.v_cache.data = shifted(a.v_cache.data, 4); }, {"v_cache", "16 bytes"}},
      {"misaligned_lengths",
       [](auto& a) { a.lengths = reinterpret_cast<const std::int32_t*>(shifted(a.lengths, 1)); },
       {"lengths", "4 bytes"}},
      {"negative_max_len_k", [](auto& a) { a.max_len_k = -1; }, {"max_len_k", "-1"}},
      {"negative_splits", [](auto& a) { a.num_splits = -2; }, {"num_splits", "-2"}},
      {"too_many_splits", [](auto& a) { a.num_splits = 1'000'000; }, {"num_splits", "1000000", "at most"}},
      {"heads_that_do_not_divide", [](auto& a) { a.heads_q = 7; }, {"7", "2"}},
      {"null_workspace", [](auto& a) { a.workspace = nullptr; }, {"workspace", "null"}},
      {"small_workspace", [](auto& a) { a.workspace_bytes -= 1; }, {"workspace_bytes", "needs"}},
      {"misaligned_workspace", [](auto& a) { a.workspace = shifted(a.workspace, 2); }, {"workspace", "16 bytes"}},
      {"window_without_window", [](auto& a) { a.window_left = 9; }, {"window_left", "9"}},
  };
}

/// What only a call with every feature can get wrong.
std::vector<DecodeMisuse> decode_feature_misuses() {
  constexpr std::int64_t kFar = std::int64_t{1} << 40;
  return {
      {"negative_len_q", [](auto& a) { a.len_q = -2; }, {"len_q", "-2"}},
      {"huge_len_q", [](auto& a) { a.len_q = kMostInt; }, {"len_q", "2147483647", "at most 1073741824"}},
      {"negative_split_size", [](auto& a) { a.split_size = -64; }, {"split_size", "-64"}},
      {"splits_and_their_size", [](auto& a) { a.split_size = 64; }, {"num_splits is 4", "split_size 64", "must be 0"}},
      {"infinite_scale", [](auto& a) { a.scale = std::numeric_limits<float>::infinity(); }, {"scale", "inf"}},
      {"window_below_open", [](auto& a) { a.window_right = -2; }, {"window_right", "-2", "-1"}},
      {"no_softcap", [](auto& a) { a.softcap = 0; }, {"softcap", "0", "more than 0"}},
      {"null_slopes", [](auto& a) { a.alibi_slopes = nullptr; }, {"alibi_slopes", "null"}},
      {"null_sinks", [](auto& a) { a.sinks = nullptr; }, {"sinks", "null"}},
      {"null_bias", [](auto& a) { a.bias.data = nullptr; }, {"bias", "null"}},
      {"negative_bias_stride", [](auto& a) { a.bias.strides.row = -1; }, {"bias.strides.row", "-1"}},
      {"misaligned_tree", [](auto& a) { a.tree.words = shifted_bytes(a.tree.words, 2); }, {"tree.words", "4 bytes"}},
      {"negative_tree_stride", [](auto& a) { a.tree.row_stride = -1; }, {"tree.row_stride", "-1"}},
      {"huge_tree_stride", [](auto& a) { a.tree.batch_stride = kFar; }, {"tree.batch_stride", "2^40"}},
      {"misaligned_cu_seqlens",
       [](auto& a) { a.cu_seqlens_q = shifted_bytes(a.cu_seqlens_q, 1); },
       {"cu_seqlens_q", "4 bytes"}},
      {"misaligned_used", [](auto& a) { a.seqused_q = shifted_bytes(a.seqused_q, 3); }, {"seqused_q", "4 bytes"}},
      {"negative_total", [](auto& a) { a.total_q = -1; }, {"total_q", "-1"}},
      {"total_without_cu_seqlens", [](auto& a) { a.cu_seqlens_q = nullptr; }, {"total_q", "7", "null"}},
      {"misaligned_cache_rows",
       [](auto& a) { a.cache_rows = shifted_bytes(a.cache_rows, 2); },
       {"cache_rows", "4 bytes"}},
      {"misaligned_padding",
       [](auto& a) { a.left_padding = shifted_bytes(a.left_padding, 2); },
       {"left_padding", "4 bytes"}},
      {"no_page_size", [](auto& a) { a.pages.page_size = 0; }, {"page_size", "0", "1 or more"}},
      {"null_page_table", [](auto& a) { a.pages.table = nullptr; }, {"pages.table", "null"}},
      {"short_page_table", [](auto& a) { a.pages.row_stride = 24; }, {"row_stride", "24", "25 entries"}},
      {"null_last_page_len", [](auto& a) { a.pages.indptr = a.cu_seqlens_q; }, {"pages.last_page_len", "null"}},
      {"misaligned_indptr",
       [](auto& a) { a.pages.indptr = shifted_bytes(a.cu_seqlens_q, 2); },
       {"pages.indptr", "4 bytes"}},
      {"odd_page_stride", [](auto& a) { a.k_cache.strides.batch += 4; }, {"k_cache", "batch", "16 bytes"}},
  };
}

DecodeCase decode_with_everything() {
  return {.config = {.window = Window::sliding,
                     .softcap = true,
                     .alibi = true,
                     .sinks = true,
                     .bias = Bias::additive,
                     .ragged = true,
                     .paged = true},
          .len_q = 4,
          .max_len_k = 400,
          .lengths = {400, 9},
          .num_splits = 4,
          .tree = Tree::branches,
          .tokens = {.cu = {0, 4, 7}, .used = {4, 2}, .total = 7},
          .cache_rows = {1, 0},
          .left_padding = {0, 2}};
}

class DecodeMisuses : public GpuTest, public ::testing::WithParamInterface<DecodeMisuse> {
 protected:
  void expect_refusal(const DecodeCase& test) const;
};

void DecodeMisuses::expect_refusal(const DecodeCase& test) const {
  DecodeCall call(test);
  call.upload();
  const DecodeKernel kernel = Gpu::runtime().decode(call.test.config);
  DecodeArgs args = call.args();
  const cuda::DeviceBuffer workspace = make_workspace(kernel, args);
  DecodeArgs spoilt = args;
  GetParam().spoil(spoilt);
  const std::string words = test::error_of(ErrorCode::invalid_argument, [&] { kernel.launch(stream(), spoilt); });
  for (const std::string& word : GetParam().words) EXPECT_THAT(words, HasSubstr(word));
  kernel.launch(stream(), args);
  EXPECT_TRUE(call.matches_reference());
}

TEST_P(DecodeMisuses, NameTheValueAndTheLimit) {
  expect_refusal({.max_len_k = 400, .lengths = {400, 9}, .num_splits = 4});
}

class DecodeFeatureMisuses : public DecodeMisuses {};

TEST_P(DecodeFeatureMisuses, NameTheValueAndTheLimit) { expect_refusal(decode_with_everything()); }

INSTANTIATE_TEST_SUITE_P(Features, DecodeFeatureMisuses, ::testing::ValuesIn(decode_feature_misuses()),
                         [](const auto& test) { return std::string(test.param.name); });
INSTANTIATE_TEST_SUITE_P(Decode, DecodeMisuses, ::testing::ValuesIn(decode_misuses()),
                         [](const auto& test) { return std::string(test.param.name); });

class Misuse : public GpuTest {};

TEST_F(Misuse, AHeadDimThatIsNotSupportedSaysWhichAre) {
  const std::string words = test::error_of(ErrorCode::unsupported, [] {
    static_cast<void>(Gpu::runtime().forward({.head_dim_qk = 100, .head_dim_v = 100}));
  });
  EXPECT_THAT(words, HasSubstr("head_dim_qk 100"));
  EXPECT_THAT(words, HasSubstr("a multiple of 8 from 8 to 256"));
}

TEST_F(Misuse, ADeviceThatDoesNotExistIsNamed) {
  Options options = Options::from_environment();
  options.device = 99;
  const std::string words = test::error_of(ErrorCode::invalid_argument, [&] { const Runtime runtime(options); });
  EXPECT_THAT(words, HasSubstr("99"));
}

}  // namespace
}  // namespace kiln::test
