#include "gpu/prefix_call.hpp"

#include <algorithm>
#include <ostream>
#include <span>

namespace kiln::test {

void PrintTo(const PrefixCase& test, std::ostream* out) { *out << test.name; }

std::vector<PrefixCase> prefix_cases() {
  const AttentionConfig f16_d64{.dtype = DType::f16, .head_dim_qk = 64, .head_dim_v = 64};
  return {
      {"one_token", {.max_len_k = 1000, .lengths = {1000, 700, 601, 600}}, 600},
      {"chain", {.config = {.causal = true}, .len_q = 4, .max_len_k = 1000, .lengths = {1000, 700, 604}}, 600},
      {"many_rows",
       {.config = {.causal = true}, .len_q = 3, .max_len_k = 400, .lengths = std::vector<std::int32_t>(70, 391)},
       333},
      {"scores",
       {.config = {.dtype = DType::f16, .head_dim_qk = 64, .head_dim_v = 64, .softcap = true, .sinks = true},
        .max_len_k = 500,
        .heads_q = 6,
        .lengths = {500, 444}},
       444},
      {"packed",
       {.config = {.causal = true, .ragged = true},
        .len_q = 9,
        .max_len_k = 300,
        .lengths = {300, 222, 290, 299},
        .tokens = {.cu = {0, 1, 10, 10, 13}, .total = 13}},
       200},
      {"pages",
       {.config = {.causal = true, .paged = true}, .len_q = 2, .max_len_k = 700, .lengths = {700, 611, 630}},
       608},
      {"tree", {.config = f16_d64, .len_q = 16, .max_len_k = 500, .lengths = {500, 420}, .tree = Tree::branches}, 400},
      {"value_dim",
       {.config = {.head_dim_qk = 192, .head_dim_v = 128, .output_f32 = true},
        .max_len_k = 300,
        .lengths = {300, 270},
        .lse_base2 = true},
       256},
      {"apart", {.max_len_k = 300, .lengths = {300, 270}, .layout = Layout::padded, .scale = 0.3F}, 128},
      {"fixed_splits", {.max_len_k = 900, .lengths = {900, 800}, .num_splits = 3}, 512},
      {"no_prefix", {.max_len_k = 300, .lengths = {300, 7}}, 0},
      {"one_key", {.max_len_k = 300, .lengths = {300, 7}}, 1},
      {"length_on_device", {.max_len_k = 700, .lengths = {700, 650}}, 512, true},
      {"without_lse", {.max_len_k = 700, .lengths = {700, 650}, .lse = false}, 512},
  };
}

PrefixCall::PrefixCall(const PrefixCase& given) : test(given), whole(test.decode) {
  const std::size_t row = whole.page_table.size() / test.decode.lengths.size();
  for (int b = 1; b < test.decode.batch(); ++b) {
    if (test.decode.config.paged) {
      std::copy_n(whole.page_table.begin(), prefix_pages(),
                  whole.page_table.begin() + static_cast<std::ptrdiff_t>(row) * b);
    } else {
      repeat_rows(whole.k, b);
      repeat_rows(whole.v, b);
    }
  }
}

void PrefixCall::repeat_rows(Tensor& keys, int sequence) const {
  for (int j = 0; j < test.prefix_len; ++j)
    for (int head = 0; head < test.decode.heads_kv; ++head)
      std::copy_n(keys.row(0, j, head), keys.shape().dim, keys.row(sequence, j, head));
}

void PrefixCall::upload() {
  whole.upload();
  std::vector<std::int32_t> own;
  for (const std::int32_t length : test.decode.lengths) own.push_back(length - test.prefix_len);
  own_lengths_ = cuda::DeviceBuffer::of(Gpu::driver(), std::span<const std::int32_t>(own));
  const std::vector<std::int32_t> of_prefix = {test.prefix_len};
  prefix_length_ = cuda::DeviceBuffer::of(Gpu::driver(), std::span<const std::int32_t>(of_prefix));
}

void PrefixCall::clear_result() {
  whole.out.fill(kNan);
  whole.out.upload();
  whole.lse.upload();
}

DecodeArgs PrefixCall::own_args() const {
  DecodeArgs args = whole.args();
  args.lengths = own_lengths_.as<std::int32_t>();
  args.max_len_k -= test.prefix_len;
  if (test.decode.config.paged) {
    args.pages.table += prefix_pages();
  } else {
    skip(args.k_cache);
    skip(args.v_cache);
  }
  return args;
}

SharedPrefix PrefixCall::prefix() const {
  const DecodeArgs args = whole.args();
  SharedPrefix prefix{.k = args.k_cache, .v = args.v_cache, .len = test.prefix_len};
  if (test.decode.config.paged) prefix.page_table = args.pages.table;
  if (test.length_on_device) {
    constexpr int kMore = 50;  // that are not the prefix's
    prefix.len += kMore;
    prefix.length = prefix_length_.as<std::int32_t>();
  }
  return prefix;
}

void PrefixCall::skip(Input& keys) const {
  constexpr int kBytes = 2;
  keys.data = static_cast<const std::byte*>(keys.data) + test.prefix_len * keys.strides.row * kBytes;
}

}  // namespace kiln::test
