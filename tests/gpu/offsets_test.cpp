// Tensors whose offsets don't fit 32 bits. Only a few rows far out hold anything but zero bytes, and
// only they are looked at: with len_k rows of zeros and one key that takes all the weight, the result
// is that key's value.
#include "gpu/gpu.hpp"
#include "support/half.hpp"
#include "support/random.hpp"

#include <array>
#include <vector>

namespace kiln::test {
namespace {

constexpr std::int64_t kDim = 128;
constexpr std::int64_t kGiga = std::int64_t{1} << 30;

std::vector<std::uint16_t> random_row(std::uint64_t seed) {
  std::vector<std::uint16_t> row(std::size_t{kDim});
  for (std::size_t c = 0; c < std::size_t{kDim}; ++c) row[c] = to_bf16(normal(seed, c));
  return row;
}

std::vector<std::uint16_t> spike(float value) {
  std::vector<std::uint16_t> row(kDim, 0);
  row[0] = to_bf16(value);
  return row;
}

/// Device memory of many elements, zero but for what put() writes.
class Sparse {
 public:
  explicit Sparse(std::int64_t elements) : memory_(Gpu::driver(), static_cast<std::size_t>(elements) * 2) {
    memory_.fill(std::byte{0});
  }
  void put(std::int64_t element, const std::vector<std::uint16_t>& row) {
    memory_.upload(std::as_bytes(std::span(row)), static_cast<std::size_t>(element) * 2);
  }
  [[nodiscard]] std::vector<std::uint16_t> get(std::int64_t element) const {
    std::vector<std::uint16_t> row(std::size_t{kDim});
    memory_.download(std::as_writable_bytes(std::span(row)), static_cast<std::size_t>(element) * 2);
    return row;
  }
  [[nodiscard]] void* data() const { return memory_.data(); }

 private:
  cuda::DeviceBuffer memory_;
};

class Offsets : public GpuTest, public ::testing::WithParamInterface<std::int64_t> {
 protected:
  /// Skips unless `tensors` of the parameter's size fit beside some room for everything else.
  bool fits(std::int64_t tensors) {
    const auto needed = static_cast<std::size_t>(tensors * (GetParam() * 2 + kGiga));
    if (Gpu::free_bytes() > needed) return true;
    skip_ = "needs " + std::to_string(needed / kGiga) + " GiB of GPU memory";
    return false;
  }
  std::string skip_;
};

/// Elements: just above 2^31 and just above 2^32.
INSTANTIATE_TEST_SUITE_P(Elements, Offsets, ::testing::Values(std::int64_t{1} << 31, std::int64_t{1} << 32),
                         [](const auto& test) { return test.param == std::int64_t{1} << 31 ? "2e31" : "2e32"; });

TEST_P(Offsets, DecodeReadsTheLastSequenceOfAHugeCache) {
  if (!fits(2)) GTEST_SKIP() << skip_;
  constexpr int kHeads = 2;
  constexpr int kLength = 1 << 16;
  const auto strides = Strides::bshd(kLength, kHeads, kDim);
  const int batch = static_cast<int>(GetParam() / strides.batch) + 1;
  Sparse k(batch * strides.batch);
  Sparse v(batch * strides.batch);
  Sparse q(std::int64_t{batch} * kHeads * kDim);
  Sparse out(std::int64_t{batch} * kHeads * kDim);
  struct Place {
    int b, row, head;
  };
  const std::array places = {Place{batch - 1, kLength - 1, 1}, Place{batch - 1, 5, 0}, Place{0, kLength - 3, 1}};
  for (const auto& [b, row, head] : places) {
    const std::int64_t at = b * strides.batch + row * strides.row + head * strides.head;
    q.put((std::int64_t{b} * kHeads + head) * kDim, spike(512));
    k.put(at, spike(64));
    v.put(at, random_row(static_cast<std::uint64_t>(at)));
  }
  DecodeArgs args{.q = {q.data(), {kHeads * kDim, 0, kDim}},
                  .k_cache = {k.data(), strides},
                  .v_cache = {v.data(), strides},
                  .out = {out.data(), {kHeads * kDim, 0, kDim}},
                  .batch = batch,
                  .max_len_k = kLength,
                  .heads_q = kHeads,
                  .heads_kv = kHeads};
  const DecodeKernel kernel = Gpu::runtime().decode({});
  const cuda::DeviceBuffer workspace = make_workspace(kernel, args);
  kernel.launch(stream(), args);
  synchronize();
  for (const auto& [b, row, head] : places) {
    const std::int64_t at = b * strides.batch + row * strides.row + head * strides.head;
    EXPECT_EQ(out.get((std::int64_t{b} * kHeads + head) * kDim), random_row(static_cast<std::uint64_t>(at)))
        << "sequence " << b << ", row " << row << ", head " << head;
  }
}

TEST_P(Offsets, DecodeReadsAlongHugeRowStrides) {
  // One sequence whose rows lie far apart: row · stride leaves 32 bits within the sequence.
  if (!fits(1)) GTEST_SKIP() << skip_;
  constexpr int kLength = 4096;
  const std::int64_t row_stride = (GetParam() / kLength + 8) / 8 * 8;
  Sparse cache((kLength - 1) * row_stride + 2 * kDim);  // k and v side by side in each row
  Sparse q(kDim);
  Sparse out(kDim);
  const auto value = random_row(9);
  q.put(0, spike(512));
  cache.put((kLength - 1) * row_stride, spike(64));
  cache.put((kLength - 1) * row_stride + kDim, value);
  const Strides strides{0, row_stride, 0};
  DecodeArgs args{.q = {q.data(), {}},
                  .k_cache = {cache.data(), strides},
                  .v_cache = {static_cast<std::uint16_t*>(cache.data()) + kDim, strides},
                  .out = {out.data(), {}},
                  .batch = 1,
                  .max_len_k = kLength,
                  .heads_q = 1,
                  .heads_kv = 1};
  const DecodeKernel kernel = Gpu::runtime().decode({});
  const cuda::DeviceBuffer workspace = make_workspace(kernel, args);
  kernel.launch(stream(), args);
  synchronize();
  EXPECT_EQ(out.get(0), value);
}

TEST_P(Offsets, DecodeReadsTheRowsOfAHugeCacheThatSequencesChoose) {
  // Two rows of a cache a huge stride apart; padding is in front of the second one's keys.
  if (!fits(1)) GTEST_SKIP() << skip_;
  constexpr int kLength = 300;
  constexpr int kPadding = 7;
  const std::int64_t far = GetParam() + 8;
  Sparse cache(far + 2 * kLength * kDim);
  Sparse q(2 * kDim);
  Sparse out(2 * kDim);
  const auto value = random_row(31);
  q.put(0, spike(512));
  cache.put(far + 299 * 2 * kDim, spike(64));
  cache.put(far + 299 * 2 * kDim + kDim, value);
  const auto list = [](const std::array<std::int32_t, 2>& values) {
    return cuda::DeviceBuffer::of(Gpu::driver(), std::span<const std::int32_t>(values));
  };
  const auto rows = list({1, 0});
  const auto padding = list({kPadding, 0});
  const Strides strides{far, 2 * kDim, 0};
  DecodeArgs args{.q = {q.data(), {kDim, 0, 0}},
                  .k_cache = {cache.data(), strides},
                  .v_cache = {static_cast<std::uint16_t*>(cache.data()) + kDim, strides},
                  .out = {out.data(), {kDim, 0, 0}},
                  .batch = 2,
                  .max_len_k = kLength,
                  .heads_q = 1,
                  .heads_kv = 1,
                  .cache_rows = rows.as<std::int32_t>(),
                  .left_padding = padding.as<std::int32_t>()};
  const DecodeKernel kernel = Gpu::runtime().decode({});
  const cuda::DeviceBuffer workspace = make_workspace(kernel, args);
  kernel.launch(stream(), args);
  synchronize();
  EXPECT_EQ(out.get(0), value);
  EXPECT_EQ(out.get(kDim), std::vector<std::uint16_t>(kDim, 0)) << "the near row's values";
}

TEST_P(Offsets, DecodeReadsPagesFarOut) {
  // Four pages whose last begins beyond the limit. K and V lie side by side in each row of them.
  if (!fits(1)) GTEST_SKIP() << skip_;
  constexpr int kPageSize = 16;
  constexpr int kPages = 4;
  constexpr int kLength = kPageSize * kPages;
  constexpr int kKey = 20;  // in the second entry of the table
  const std::int64_t page_stride = (GetParam() / (kPages - 1) + 8) / 8 * 8;
  Sparse memory((kPages - 1) * page_stride + 2 * kPageSize * kDim);
  Sparse q(kDim);
  const auto value = random_row(32);
  q.put(0, spike(512));
  const std::int64_t at = (kPages - 1) * page_stride + (kKey % kPageSize) * 2 * kDim;
  memory.put(at, spike(64));
  memory.put(at + kDim, value);
  const std::array<std::int32_t, kPages> table = {0, kPages - 1, 1, 2};
  const std::array<std::int32_t, 3> lists = {0, kPages, kPageSize};  // indptr, and the last page's length
  const auto device_table = cuda::DeviceBuffer::of(Gpu::driver(), std::span<const std::int32_t>(table));
  const auto device_lists = cuda::DeviceBuffer::of(Gpu::driver(), std::span<const std::int32_t>(lists));
  const Strides strides{page_stride, 2 * kDim, 0};
  for (const bool as_lists : {false, true}) {
    Sparse out(kDim);
    DecodeArgs args{.q = {q.data(), {}},
                    .k_cache = {memory.data(), strides},
                    .v_cache = {static_cast<std::uint16_t*>(memory.data()) + kDim, strides},
                    .out = {out.data(), {}},
                    .batch = 1,
                    .max_len_k = kLength,
                    .heads_q = 1,
                    .heads_kv = 1,
                    .pages = {device_table.as<std::int32_t>(), kPages, kPageSize}};
    if (as_lists) {
      args.pages.indptr = device_lists.as<std::int32_t>();
      args.pages.last_page_len = args.pages.indptr + 2;
    }
    const DecodeKernel kernel = Gpu::runtime().decode({.paged = true});
    const cuda::DeviceBuffer workspace = make_workspace(kernel, args);
    kernel.launch(stream(), args);
    synchronize();
    EXPECT_EQ(out.get(0), value) << as_lists;
  }
}

TEST_P(Offsets, DecodeReadsAndWritesPackedRowsFarApart) {
  // New tokens of two sequences in a packed tensor whose rows lie far apart; K and V are small.
  if (!fits(1)) GTEST_SKIP() << skip_;
  constexpr int kTokens = 8;
  constexpr int kFirst = 5;  // of the first sequence
  const std::int64_t row_stride = (GetParam() / (kTokens - 1) + 8) / 8 * 8;
  Sparse memory((kTokens - 1) * row_stride + 2 * kDim);  // q and out side by side
  Sparse cache(4 * kDim);                                // a key and a value for each sequence
  const auto value = random_row(33);
  cache.put(3 * kDim, value);
  const std::array<std::int32_t, 3> cu_seqlens = {0, kFirst, kTokens};
  const auto device_lengths = cuda::DeviceBuffer::of(Gpu::driver(), std::span<const std::int32_t>(cu_seqlens));
  const Strides strides{0, row_stride, 0};
  DecodeArgs args{.q = {memory.data(), strides},
                  .k_cache = {cache.data(), {2 * kDim, 0, 0}},
                  .v_cache = {static_cast<std::uint16_t*>(cache.data()) + kDim, {2 * kDim, 0, 0}},
                  .out = {static_cast<std::uint16_t*>(memory.data()) + kDim, strides},
                  .batch = 2,
                  .len_q = kFirst,
                  .max_len_k = 1,
                  .heads_q = 1,
                  .heads_kv = 1,
                  .cu_seqlens_q = device_lengths.as<std::int32_t>(),
                  .total_q = kTokens};
  const DecodeKernel kernel = Gpu::runtime().decode({.ragged = true});
  const cuda::DeviceBuffer workspace = make_workspace(kernel, args);
  kernel.launch(stream(), args);
  synchronize();
  for (int i = kFirst; i < kTokens; ++i) EXPECT_EQ(memory.get(i * row_stride + kDim), value) << "row " << i;
  EXPECT_EQ(memory.get((kFirst - 1) * row_stride + kDim), std::vector<std::uint16_t>(kDim, 0));
}

TEST_P(Offsets, DecodeReadsABiasFarOut) {
  // The second sequence's bias lies beyond the limit and lets all but one key go.
  if (!fits(1)) GTEST_SKIP() << skip_;
  constexpr int kLength = 70;
  constexpr int kKey = 33;
  constexpr std::int64_t kTensor = kLength * kDim;
  Sparse bias(GetParam() + 8 + kLength);
  Sparse memory(2 * kTensor);
  Sparse out(2 * kDim);
  std::vector<std::uint16_t> row(kLength, to_bf16(-1000));
  row[kKey] = 0;
  bias.put(GetParam() + 8, row);
  const auto value = random_row(34);
  memory.put(kTensor + kKey * kDim, value);
  DecodeArgs args{.q = {memory.data(), {}},  // zeros: scores are the bias
                  .k_cache = {memory.data(), {}},
                  .v_cache = {memory.data(), {kTensor, kDim, 0}},
                  .out = {out.data(), {kDim, 0, 0}},
                  .batch = 2,
                  .max_len_k = kLength,
                  .heads_q = 1,
                  .heads_kv = 1,
                  .bias = {bias.data(), {.batch = GetParam() + 8, .row = 0, .head = 0}}};
  const DecodeKernel kernel = Gpu::runtime().decode({.bias = Bias::additive});
  const cuda::DeviceBuffer workspace = make_workspace(kernel, args);
  kernel.launch(stream(), args);
  synchronize();
  EXPECT_EQ(out.get(kDim), value);
}

TEST_P(Offsets, ForwardReadsAndWritesFarOut) {
  // Two sequences a huge stride apart, for all four tensors; they share one buffer.
  if (!fits(1)) GTEST_SKIP() << skip_;
  constexpr int kLength = 200;
  constexpr std::int64_t kTensor = std::int64_t{kLength} * kDim;
  const std::int64_t far = GetParam() + 8;
  Sparse memory(far + 4 * kTensor);
  const auto value = random_row(11);
  for (int i = 0; i < kLength; ++i) memory.put(far + std::int64_t{i} * kDim, spike(512));
  memory.put(far + kTensor + 150 * kDim, spike(64));
  memory.put(far + 2 * kTensor + 150 * kDim, value);
  const auto part = [&](int index) { return static_cast<std::uint16_t*>(memory.data()) + index * kTensor; };
  const Strides strides{far, kDim, kDim};
  const ForwardArgs args{.q = {part(0), strides},
                         .k = {part(1), strides},
                         .v = {part(2), strides},
                         .out = {part(3), strides},
                         .batch = 2,
                         .len_q = kLength,
                         .len_k = kLength,
                         .heads_q = 1,
                         .heads_kv = 1};
  Gpu::runtime().forward({}).launch(stream(), args);
  synchronize();
  for (const int i : {0, 1, 63, 64, 127, 128, kLength - 1})
    EXPECT_EQ(memory.get(far + 3 * kTensor + std::int64_t{i} * kDim), value) << "row " << i;
  EXPECT_EQ(memory.get(3 * kTensor), std::vector<std::uint16_t>(kDim, 0)) << "the near sequence's output";
}

TEST_P(Offsets, ForwardReadsPagesFarOut) {
  // Four pages whose last begins beyond the limit. K and V lie side by side in each row of them.
  if (!fits(1)) GTEST_SKIP() << skip_;
  constexpr int kPageSize = 16;
  constexpr int kPages = 4;
  constexpr int kLength = kPageSize * kPages;
  constexpr int kKey = 20;  // in the second entry of the table
  const std::int64_t page_stride = GetParam() / (kPages - 1) + 8;
  const std::int64_t aligned_stride = page_stride / 8 * 8;
  Sparse memory((kPages - 1) * aligned_stride + 2 * kPageSize * kDim);
  Sparse q(kDim);
  Sparse out(kDim);
  const auto value = random_row(21);
  q.put(0, spike(512));
  const std::int64_t at = (kPages - 1) * aligned_stride + (kKey % kPageSize) * 2 * kDim;
  memory.put(at, spike(64));
  memory.put(at + kDim, value);
  const std::array<std::int32_t, kPages> table = {0, kPages - 1, 1, 2};
  const auto device_table = cuda::DeviceBuffer::of(Gpu::driver(), std::span<const std::int32_t>(table));
  const Strides strides{aligned_stride, 2 * kDim, 0};
  const ForwardArgs args{.q = {q.data(), {}},
                         .k = {memory.data(), strides},
                         .v = {static_cast<std::uint16_t*>(memory.data()) + kDim, strides},
                         .out = {out.data(), {}},
                         .batch = 1,
                         .len_q = 1,
                         .len_k = kLength,
                         .heads_q = 1,
                         .heads_kv = 1,
                         .pages = {device_table.as<std::int32_t>(), kPages, kPageSize}};
  Gpu::runtime().forward({.paged = true}).launch(stream(), args);
  synchronize();
  EXPECT_EQ(out.get(0), value);
}

TEST_P(Offsets, ForwardReadsAndWritesPackedRowsFarApart) {
  // Two sequences of a packed tensor whose rows lie far apart: row · stride leaves 32 bits for all four tensors.
  if (!fits(1)) GTEST_SKIP() << skip_;
  constexpr int kLength = 128;
  constexpr int kFirst = 100;  // rows of the first sequence
  const std::int64_t row_stride = (GetParam() / (kLength - 1) + 8) / 8 * 8;
  Sparse memory((kLength - 1) * row_stride + 4 * kDim);
  const auto value = random_row(22);
  const std::int64_t last = (kLength - 1) * row_stride;
  memory.put(last, spike(512));
  memory.put(last + kDim, spike(64));
  memory.put(last + 2 * kDim, value);
  const std::array<std::int32_t, 3> cu_seqlens = {0, kFirst, kLength};
  const auto device_lengths = cuda::DeviceBuffer::of(Gpu::driver(), std::span<const std::int32_t>(cu_seqlens));
  const auto part = [&](int index) { return static_cast<std::uint16_t*>(memory.data()) + index * kDim; };
  const Strides strides{0, row_stride, 0};
  const ForwardArgs args{.q = {part(0), strides},
                         .k = {part(1), strides},
                         .v = {part(2), strides},
                         .out = {part(3), strides},
                         .batch = 2,
                         .len_q = kFirst,
                         .len_k = kFirst,
                         .heads_q = 1,
                         .heads_kv = 1,
                         .lengths = {.cu_seqlens_q = device_lengths.as<std::int32_t>(),
                                     .cu_seqlens_k = device_lengths.as<std::int32_t>(),
                                     .total_q = kLength}};
  Gpu::runtime().forward({.ragged = true}).launch(stream(), args);
  synchronize();
  EXPECT_EQ(memory.get(last + 3 * kDim), value);
}

TEST_P(Offsets, ForwardReadsABiasFarOut) {
  // The second sequence's bias lies beyond the limit and lets all but one key go.
  if (!fits(1)) GTEST_SKIP() << skip_;
  constexpr int kLength = 70;
  constexpr int kKey = 33;
  constexpr std::int64_t kTensor = kLength * kDim;
  Sparse bias(GetParam() + 8 + kLength);
  Sparse memory(2 * kTensor);
  Sparse out(2 * kDim);
  std::vector<std::uint16_t> row(kLength, to_bf16(-1000));
  row[kKey] = 0;
  bias.put(GetParam() + 8, row);
  const auto value = random_row(23);
  memory.put(kTensor + kKey * kDim, value);
  const Strides keys{kTensor, kDim, 0};
  const ForwardArgs args{.q = {memory.data(), {}},  // zeros: scores are the bias
                         .k = {memory.data(), {}},
                         .v = {memory.data(), keys},
                         .out = {out.data(), {kDim, 0, 0}},
                         .batch = 2,
                         .len_q = 1,
                         .len_k = kLength,
                         .heads_q = 1,
                         .heads_kv = 1,
                         .bias = {bias.data(), {.batch = GetParam() + 8, .row = 0, .head = 0}}};
  Gpu::runtime().forward({.bias = Bias::additive}).launch(stream(), args);
  synchronize();
  EXPECT_EQ(out.get(kDim), value);
}

}  // namespace
}  // namespace kiln::test
