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

}  // namespace
}  // namespace kiln::test
