// Forward kernels with what changes scores, lengths of their own and pages, run on the host against float64.
#include "device/emulator/barriers.hpp"
#include "device/emulator/truth.hpp"
#include "device/page_size.cuh"
#include "device/tile_schedule.cuh"

#include <gtest/gtest.h>

#include <numbers>
#include <numeric>

namespace emulator {

extern const KernelFacts forward_bf16_d64_scores;
extern const KernelFacts forward_f16_d64_paged;
extern const KernelFacts forward_f16_d64_bias;
extern const KernelFacts forward_bf16_d64_mask;

namespace {

constexpr int kDim = 64;
constexpr double kScale = 0.125;

/// Runs the kernel and looks at every row. Rows of O that belong to no sequence stay NaN, as they were.
void expect_right(const KernelFacts& kernel, const Truth& truth, const kiln::device::AttentionParams& call, bool ragged,
                  Tensor& q, Tensor& k, Tensor& v, Tensor& o, std::vector<float>& lse) {
  kiln::device::ForwardParams params{call};
  const auto batch = static_cast<int>(truth.len_q.size());
  params.q = q.data();
  params.k = k.data();
  params.v = v.data();
  params.o = o.data();
  params.lse = lse.data();
  params.q_strides = q.strides;
  params.k_strides = k.strides;
  params.v_strides = v.strides;
  params.o_strides = o.strides;
  params.batch = batch;
  params.heads_q = truth.heads.q;
  params.heads_kv = truth.heads.kv;
  params.group = truth.heads.group();
  params.scale_log2 = static_cast<float>(truth.scale * std::numbers::log2e);
  if (params.lse_unit == 0) params.lse_unit = std::numbers::ln2_v<float>;
  const auto schedule =
      kiln::device::forward_schedule({.batch = batch,
                                      .heads_q = truth.heads.q,
                                      .heads_kv = truth.heads.kv,
                                      .len_q = params.len_q,
                                      .len_k = params.len_k,
                                      .ragged = ragged,
                                      .total_q = params.cu_seqlens_q != nullptr ? params.total_q : batch * params.len_q,
                                      .key_bytes = 4 * kDim},
                                     kernel.tile_m);
  params.bundle = schedule.bundle;
  params.row_tiles = schedule.row_tiles;
  params.heads = kiln::device::pack_heads(truth.heads.group(), params.len_q);
  kernel.run(&params, {static_cast<unsigned>(schedule.blocks())});

  std::size_t rows = 0;
  for (int b = 0; b < batch; ++b) {
    for (int h = 0; h < truth.heads.q; ++h) {
      for (int i = 0; i < truth.len_q[static_cast<std::size_t>(b)]; ++i, ++rows) {
        const auto [first, second] = truth.q_at(b, i);
        const bool packed = params.cu_seqlens_q != nullptr;
        const int at = packed ? h * params.total_q + second : (b * truth.heads.q + h) * params.len_q + i;
        const float got = lse[static_cast<std::size_t>(at)] * (std::numbers::ln2_v<float> / params.lse_unit);
        ASSERT_NO_FATAL_FAILURE(
            expect_row(o, got, row_of(truth, kernel, q, k, v, b, h, i), tolerance_of(kernel), first, second, h));
      }
    }
  }
  std::size_t written = 0;
  for (const std::uint16_t bits : o.bits()) written += std::isnan(value_of(kernel.type, bits)) ? 0 : 1;
  EXPECT_EQ(written, rows * kDim) << "rows that are no sequence's were written";
}

std::vector<int> sums_of(const std::vector<int>& lengths) {
  std::vector<int> sums(lengths.size() + 1, 0);
  std::partial_sum(lengths.begin(), lengths.end(), sums.begin() + 1);
  return sums;
}

int most_of(const std::vector<int>& lengths) { return *std::max_element(lengths.begin(), lengths.end()); }

/// Packed sequences of these lengths, causal, with a soft cap, ALiBi and sinks.
void check_scores(const std::vector<int>& len_q, const std::vector<int>& len_k, Heads heads, float lse_unit) {
  const auto cu_q = sums_of(len_q);
  const auto cu_k = sums_of(len_k);
  std::mt19937 random(11);
  Tensor q(Number::bf16, 1, cu_q.back(), heads.q, kDim);
  Tensor k(Number::bf16, 1, cu_k.back(), heads.kv, kDim);
  Tensor v(Number::bf16, 1, cu_k.back(), heads.kv, kDim);
  Tensor o(Number::bf16, 1, cu_q.back(), heads.q, kDim);
  q.fill(random, 0, cu_q.back(), heads.q);
  k.fill(random, 0, cu_k.back(), heads.kv);
  v.fill(random, 0, cu_k.back(), heads.kv);
  std::vector<float> slopes(len_q.size() * static_cast<std::size_t>(heads.q));
  for (std::size_t i = 0; i < slopes.size(); ++i) slopes[i] = 0.03F * static_cast<float>(i + 1);
  std::vector<float> sinks(static_cast<std::size_t>(heads.q), -INFINITY);
  for (std::size_t i = 1; i < sinks.size(); ++i) sinks[i] = static_cast<float>(i) - 1.5F;

  constexpr double kCap = 1.5;
  const auto shift = [&](int b) { return len_k[static_cast<std::size_t>(b)] - len_q[static_cast<std::size_t>(b)]; };
  const Truth truth{.len_q = len_q,
                    .len_k = len_k,
                    .heads = heads,
                    .q_at = [&](int b, int i) { return std::pair{0, cu_q[static_cast<std::size_t>(b)] + i}; },
                    .k_at = [&](int b, int j) { return std::pair{0, cu_k[static_cast<std::size_t>(b)] + j}; },
                    .score =
                        [&](int b, int h, int i, int j, double dot) {
                          const double slope = static_cast<double>(slopes[static_cast<std::size_t>(b * heads.q + h)]);
                          return kCap * std::tanh(kScale * dot / kCap) - slope * std::abs(i + shift(b) - j);
                        },
                    .sees = [&](int b, int, int i, int j) { return j <= i + shift(b); },
                    .sinks = {sinks.begin(), sinks.end()}};
  std::vector<float> lse(static_cast<std::size_t>(heads.q * cu_q.back()), NAN);
  const float cap_log2 = static_cast<float>(kCap * std::numbers::log2e);
  expect_right(forward_bf16_d64_scores, truth,
               {.cu_seqlens_q = cu_q.data(),
                .cu_seqlens_k = cu_k.data(),
                .alibi_slopes = slopes.data(),
                .alibi_batch_stride = heads.q,
                .sinks = sinks.data(),
                .len_q = most_of(len_q),
                .len_k = most_of(len_k),
                .total_q = cu_q.back(),
                .softcap_log2 = cap_log2,
                .inverse_cap = 1 / cap_log2,
                .lse_unit = lse_unit},
               true, q, k, v, o, lse);
}

TEST(ForwardFeatures, ScoresOfPackedSequences) {
  check_scores({70, 0, 3, 1, 33}, {70, 40, 0, 65, 20}, {4, 2}, std::numbers::ln2_v<float>);
}

TEST(ForwardFeatures, ScoresOfOneHeadAndBase2) { check_scores({100}, {130}, {1, 1}, 1.0F); }

TEST(ForwardFeatures, MoreSequencesThanAWarpHasLanes) {
  std::vector<int> len_q(70, 1);
  std::vector<int> len_k(70, 5);
  len_q[3] = 40;
  len_q[66] = 35;
  len_k[66] = 35;
  check_scores(len_q, len_k, {3, 1}, std::numbers::ln2_v<float>);
}

/// Keys in shuffled pages, fewer of them than the tables have room for, behind queries of which not all count.
/// Returns the output's bits.
std::vector<std::uint16_t> check_pages(int page_size, const std::vector<int>& len_q, const std::vector<int>& len_k,
                                       int left, int right) {
  constexpr Heads kHeads{2, 1};
  const auto batch = static_cast<int>(len_q.size());
  const int most_q = most_of(len_q) + 2;
  const int table_width = most_of(len_k) / page_size + 2;
  std::vector<int> order(static_cast<std::size_t>(batch * table_width));
  std::iota(order.begin(), order.end(), 0);
  std::mt19937 random(5);
  std::shuffle(order.begin(), order.end(), random);
  std::vector<int> table(order.size(), 1 << 30);  // entries of no key: never a page
  Tensor k(Number::f16, batch * table_width, page_size, kHeads.kv, kDim);
  Tensor v(Number::f16, batch * table_width, page_size, kHeads.kv, kDim);
  for (int b = 0; b < batch; ++b) {
    for (int first = 0; first < len_k[static_cast<std::size_t>(b)]; first += page_size) {
      const auto entry = static_cast<std::size_t>(b * table_width + first / page_size);
      table[entry] = order[entry];
      const int rows = std::min(page_size, len_k[static_cast<std::size_t>(b)] - first);
      k.fill(random, table[entry], rows, kHeads.kv);
      v.fill(random, table[entry], rows, kHeads.kv);
    }
  }
  Tensor q(Number::f16, batch, most_q, kHeads.q, kDim);
  Tensor o(Number::f16, batch, most_q, kHeads.q, kDim);
  for (int b = 0; b < batch; ++b) q.fill(random, b, most_q, kHeads.q);

  const auto shift = [&](int b) { return len_k[static_cast<std::size_t>(b)] - len_q[static_cast<std::size_t>(b)]; };
  const Truth truth{.len_q = len_q,
                    .len_k = len_k,
                    .heads = kHeads,
                    .q_at = [](int b, int i) { return std::pair{b, i}; },
                    .k_at =
                        [&](int b, int j) {
                          return std::pair{table[static_cast<std::size_t>(b * table_width + j / page_size)],
                                           j % page_size};
                        },
                    .score = [](int, int, int, int, double dot) { return kScale * dot; },
                    .sees =
                        [&](int b, int, int i, int j) {
                          const int at = i + shift(b);
                          return (left < 0 || j >= at - left) && (right < 0 || j <= at + right);
                        }};
  std::vector<float> lse(static_cast<std::size_t>(batch * kHeads.q * most_q), NAN);
  expect_right(forward_f16_d64_paged, truth,
               {.seqused_q = len_q.data(),
                .seqused_k = len_k.data(),
                .page_table = table.data(),
                .page_table_stride = table_width,
                .len_q = most_q,
                .len_k = most_of(len_k) + 1,
                .window_left = left,
                .window_right = right,
                .page = kiln::device::page_size_of(page_size)},
               true, q, k, v, o, lse);
  return o.bits();
}

TEST(ForwardFeatures, PagesOfAnySize) {
  for (const int page_size : {1, 3, 16, 64}) {
    SCOPED_TRACE(page_size);
    check_pages(page_size, {40, 5, 0}, {100, 37, 20}, -1, -1);
  }
}

TEST(ForwardFeatures, PagesUnderAWindow) { check_pages(5, {33, 7}, {150, 64}, 40, 2); }

}  // namespace

std::vector<std::uint16_t> output_of_a_paged_call() { return check_pages(16, {40, 5}, {150, 37}, -1, -1); }

namespace {

/// Odd lengths: rows of the bias begin anywhere. One head's row is −inf all over.
TEST(ForwardFeatures, AdditiveBias) {
  constexpr Heads kHeads{3, 1};
  constexpr int kQueries = 35;
  constexpr int kKeys = 71;
  std::mt19937 random(3);
  Tensor q(Number::f16, 2, kQueries, kHeads.q, kDim);
  Tensor k(Number::f16, 2, kKeys, kHeads.kv, kDim);
  Tensor v(Number::f16, 2, kKeys, kHeads.kv, kDim);
  Tensor o(Number::f16, 2, kQueries, kHeads.q, kDim);
  for (int b = 0; b < 2; ++b) {
    q.fill(random, b, kQueries, kHeads.q);
    k.fill(random, b, kKeys, kHeads.kv);
    v.fill(random, b, kKeys, kHeads.kv);
  }
  // [heads_q, len_q, len_k], the same for both sequences. A vector as long as it: a sanitizer sees what is read beyond.
  std::vector<std::uint16_t> bias(static_cast<std::size_t>(kHeads.q * kQueries * kKeys));
  std::normal_distribution<float> normal;
  const auto at = [](int h, int i, int j) { return static_cast<std::size_t>((h * kQueries + i) * kKeys + j); };
  for (std::uint16_t& bits : bias) bits = to_f16(normal(random) * 3);
  for (int j = 0; j < kKeys; ++j) bias[at(1, 7, j)] = to_f16(-INFINITY);
  const Truth truth{
      .len_q = {kQueries, kQueries},
      .len_k = {kKeys, kKeys},
      .heads = kHeads,
      .q_at = [](int b, int i) { return std::pair{b, i}; },
      .k_at = [](int b, int j) { return std::pair{b, j}; },
      .score = [&](int, int h, int i, int j,
                   double dot) { return kScale * dot + static_cast<double>(from_f16(bias[at(h, i, j)])); },
      .sees = [](int, int, int, int) { return true; }};
  std::vector<float> lse(2 * kHeads.q * kQueries, NAN);
  expect_right(forward_f16_d64_bias, truth,
               {.bias = bias.data(), .bias_strides = {0, kKeys, kQueries * kKeys}, .len_q = kQueries, .len_k = kKeys},
               false, q, k, v, o, lse);
}

/// A mask of keys alone, with a fixed window, sinks, keys in pages that all sequences share, and one place for K and V.
/// Returns the output's bits.
std::vector<std::uint16_t> check_mask_of_keys(double scale = kScale, bool second_sees_keys = true) {
  constexpr Heads kHeads{2, 2};
  constexpr int kQueries = 70;
  constexpr int kKeys = 90;
  constexpr int kPage = 30;
  std::mt19937 random(3);
  Tensor q(Number::bf16, 2, kQueries, kHeads.q, kDim);
  Tensor k(Number::bf16, 3, kPage, kHeads.kv, kDim);
  Tensor v(Number::bf16, 3, kPage, kHeads.kv, kDim);
  Tensor o(Number::bf16, 2, kQueries, kHeads.q, kDim);
  for (int b = 0; b < 2; ++b) q.fill(random, b, kQueries, kHeads.q);
  for (int page = 0; page < 3; ++page) {
    k.fill(random, page, kPage, kHeads.kv);
    v.fill(random, page, kPage, kHeads.kv);
  }
  const std::vector<int> table = {2, 0, 1, 1, 1, 2};
  std::vector<unsigned char> mask(2 * kKeys);
  for (unsigned char& visible : mask) visible = random() % 4 == 0 ? 2 : 0;  // any byte but 0 shows the key
  if (!second_sees_keys) std::fill(mask.begin() + kKeys, mask.end(), static_cast<unsigned char>(0));
  const std::vector<float> sinks = {0.5F, -INFINITY};
  const Truth truth{
      .len_q = {kQueries, kQueries},
      .len_k = {kKeys, kKeys},
      .heads = kHeads,
      .q_at = [](int b, int i) { return std::pair{b, i}; },
      .k_at = [&](int b, int j) { return std::pair{table[static_cast<std::size_t>(3 * b + j / kPage)], j % kPage}; },
      .score = [scale](int, int, int, int, double dot) { return scale * dot; },
      .sees =
          [&](int b, int, int i, int j) {
            return j >= i + kKeys - kQueries - 20 && mask[static_cast<std::size_t>(b * kKeys + j)] != 0;
          },
      .sinks = {sinks.begin(), sinks.end()},
      .scale = scale};
  std::vector<float> lse(2 * kHeads.q * kQueries, NAN);
  expect_right(forward_bf16_d64_mask, truth,
               {.page_table = table.data(),
                .page_table_stride = 3,
                .sinks = sinks.data(),
                .bias = mask.data(),
                .bias_strides = {kKeys, 0, 0},
                .len_q = kQueries,
                .len_k = kKeys,
                .page = kiln::device::page_size_of(kPage)},
               false, q, k, v, o, lse);
  return o.bits();
}

TEST(ForwardFeatures, MaskOfKeys) { check_mask_of_keys(); }

/// The running maximum's start times such a scale is no longer finite.
TEST(ForwardFeatures, SinksOfRowsThatSeeNoKeyUnderALargeScale) { check_mask_of_keys(2, false); }

}  // namespace

std::vector<std::uint16_t> output_of_a_call_with_one_place() { return check_mask_of_keys(); }

}  // namespace emulator
