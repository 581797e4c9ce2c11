// What a sequence's neighbours and earlier calls may change: with fixed splits nothing, and between equal calls nothing
// either.
#include "gpu/decode_call.hpp"

#include <algorithm>
#include <span>

namespace kiln::test {
namespace {

template <class T>
const T* moved(const T* list, std::int64_t by) {
  return list == nullptr ? nullptr : list + by;
}

/// A call of sequences first … first + count − 1 alone, which reads and writes where the whole batch does.
DecodeArgs part_of(const DecodeCall& call, int first, int count) {
  const AttentionConfig& config = call.test.config;
  DecodeArgs args = call.args();
  const auto move = [&](const void* data, const Strides& strides, int bytes) {
    return const_cast<std::byte*>(static_cast<const std::byte*>(data)) + first * strides.batch * bytes;
  };
  const int out_bytes = config.output_f32 ? 4 : 2;
  args.batch = count;
  if (args.cu_seqlens_q == nullptr) {
    args.q.data = move(args.q.data, args.q.strides, 2);
    args.out.data = move(args.out.data, args.out.strides, out_bytes);
    args.lse += std::int64_t{first} * args.heads_q * args.len_q;
  }
  args.cu_seqlens_q = moved(args.cu_seqlens_q, first);
  args.seqused_q = moved(args.seqused_q, first);
  args.lengths = moved(args.lengths, first);
  args.left_padding = moved(args.left_padding, first);
  args.tree.words = moved(args.tree.words, first * args.tree.batch_stride);
  if (args.cache_rows != nullptr) {
    args.cache_rows += first;
  } else if (args.pages.indptr != nullptr) {
    args.pages.indptr += first;
    args.pages.last_page_len += first;
  } else if (config.paged) {
    args.pages.table += first * args.pages.row_stride;
  } else {
    args.k_cache.data = move(args.k_cache.data, args.k_cache.strides, 2);
    args.v_cache.data = move(args.v_cache.data, args.v_cache.strides, 2);
  }
  return args;
}

struct Bits {
  std::vector<std::byte> out;
  std::vector<float> lse;

  /// NaN included: where a call writes nothing.
  bool operator==(const Bits& other) const {
    return out == other.out && std::ranges::equal(std::as_bytes(std::span(lse)), std::as_bytes(std::span(other.lse)));
  }
};

/// What the call has written.
Bits bits_of(DecodeCall& call) {
  Gpu::synchronize();
  call.out.download();
  return {call.out.elements(), call.lse.download()};
}

/// Puts NaN where the call writes.
void clear(DecodeCall& call) { call.set_lists(call.test); }

class DecodeBatch : public GpuTest {
 protected:
  /// The batch in parts of so many sequences gives the bits that it gives whole.
  void expect_parts_alike(DecodeCall& call) {
    call.upload();
    call.launch(stream());
    EXPECT_TRUE(call.matches_reference());
    const Bits whole = bits_of(call);
    const DecodeKernel kernel = Gpu::runtime().decode(call.test.config);
    for (const int count : {1, 2, 3, 5}) {
      clear(call);
      for (int first = 0; first < call.batch(); first += count) {
        DecodeArgs part = part_of(call, first, std::min(count, call.batch() - first));
        const cuda::DeviceBuffer workspace = make_workspace(kernel, part);
        kernel.launch(stream(), part);
        synchronize();
      }
      EXPECT_TRUE(bits_of(call) == whole) << "parts of " << count << " of " << description(call.test);
    }
  }

  void expect_parts_alike(DecodeCase test) {
    for (const auto& [num, size] : {std::pair{1, 0}, {2, 0}, {6, 0}, {40, 0}, {0, 1}, {0, 100}, {0, 256}, {0, 2000}}) {
      test.num_splits = num;
      test.split_size = size;
      DecodeCall call(test);
      expect_parts_alike(call);
    }
  }
};

const std::vector<std::int32_t>& lengths() {
  static const std::vector<std::int32_t> kLengths = {900, 3, 517, 64, 0, 700, 701, 128, 65};
  return kLengths;
}

TEST_F(DecodeBatch, FixedSplitsMakeASequenceIndependentOfItsNeighbours) {
  expect_parts_alike({.max_len_k = 900, .lengths = lengths()});
  expect_parts_alike(
      {.config = {.dtype = DType::f16, .causal = true}, .len_q = 7, .max_len_k = 900, .lengths = lengths()});
}

TEST_F(DecodeBatch, FixedSplitsOfRaggedTokens) {
  expect_parts_alike({.config = {.causal = true, .ragged = true},
                      .len_q = 30,
                      .max_len_k = 900,
                      .lengths = lengths(),
                      .tokens = {.used = {1, 30, 0, 7, 3, 1, 30, 2, 9}}});
  expect_parts_alike({.config = {.causal = true, .ragged = true},
                      .len_q = 30,
                      .max_len_k = 900,
                      .lengths = lengths(),
                      .tokens = {.cu = {0, 1, 31, 31, 38, 41, 42, 72, 74, 83}, .total = 85}});
}

TEST_F(DecodeBatch, FixedSplitsOfPages) {
  expect_parts_alike({.config = {.paged = true}, .len_q = 2, .max_len_k = 900, .lengths = lengths()});
  expect_parts_alike({.config = {.paged = true},
                      .len_q = 2,
                      .max_len_k = 900,
                      .lengths = lengths(),
                      .page_lists = {.indptr = {0, 57, 58, 91, 95, 95, 139, 140, 200, 205},
                                     .last_page_len = {4, 3, 5, 16, 1, 12, 16, 16, 1}}});
}

TEST_F(DecodeBatch, FixedSplitsOfEverythingElse) {
  expect_parts_alike({.config = {.causal = true, .window = Window::sliding, .softcap = true, .sinks = true},
                      .len_q = 5,
                      .max_len_k = 900,
                      .lengths = lengths(),
                      .window_left = 300,
                      .tree = Tree::branches,
                      .cache_rows = {8, 7, 6, -1, 4, 3, 2, 1, 0},
                      .left_padding = {0, 1, 100, 3, 0, 64, 5, 200, 0}});
}

TEST_F(DecodeBatch, FixedSplitsDontAskHowLongTheCacheIs) {
  for (const auto& [num, size] : {std::pair{6, 0}, {0, 100}}) {
    DecodeCall call({.max_len_k = 900, .lengths = {300, 299}, .num_splits = num, .split_size = size});
    call.upload();
    call.launch(stream());
    const Bits of_long = bits_of(call);
    clear(call);
    DecodeArgs args = call.args();
    args.max_len_k = 300;
    Gpu::runtime().decode(call.test.config).launch(stream(), args);
    EXPECT_TRUE(bits_of(call) == of_long) << num << " " << size;
  }
}

/// Balanced over the whole GPU: which block merges changes from run to run, the result must not.
std::vector<DecodeCase> balanced_cases() {
  return {
      {.max_len_k = 3000, .lengths = {3000, 2999, 517, 0, 1}},
      {.config = {.causal = true, .ragged = true, .paged = true},
       .len_q = 40,
       .max_len_k = 3000,
       .lengths = {3000, 40, 2000, 777, 1},
       .tokens = {.cu = {0, 1, 41, 43, 44, 45}, .total = 45},
       .page_size = 5},
      {.config = {.dtype = DType::f16, .decode_rows = 32},
       .len_q = 16,
       .max_len_k = 2000,
       .heads_q = 16,
       .lengths = {2000, 1000, 3, 1999},
       .tree = Tree::branches},
  };
}

TEST_F(DecodeBatch, AThousandBalancedCallsGiveTheSameBits) {
  for (const DecodeCase& test : balanced_cases()) {
    DecodeCall call(test);
    call.upload();
    call.launch(stream());
    EXPECT_TRUE(call.matches_reference());
    const Bits first = bits_of(call);
    for (int i = 0; i < 1000; ++i) {
      clear(call);
      call.launch(stream());
      ASSERT_TRUE(bits_of(call) == first) << "repeat " << i << " of " << description(test);
    }
  }
}

TEST_F(DecodeBatch, OtherShapesInTheSameWorkspaceChangeNothing) {
  std::vector<DecodeCall> calls;
  for (const DecodeCase& test : balanced_cases()) calls.emplace_back(test);
  calls.emplace_back(DecodeCase{.max_len_k = 900, .lengths = {900, 77}, .num_splits = 9});
  calls.emplace_back(DecodeCase{.len_q = 3, .max_len_k = 900, .lengths = {900, 77, 300}, .split_size = 64});
  // One workspace of the largest's size, as layers of a model have.
  std::size_t bytes = 0;
  for (DecodeCall& call : calls) {
    call.upload();
    bytes = std::max(bytes, Gpu::runtime().decode(call.test.config).workspace_bytes(call.args()));
  }
  cuda::DeviceBuffer workspace(Gpu::driver(), bytes);
  workspace.fill(std::byte{0});
  const auto launch = [&](const DecodeCall& call) {
    DecodeArgs args = call.args();
    args.workspace = workspace.data();
    args.workspace_bytes = workspace.size_bytes();
    Gpu::runtime().decode(call.test.config).launch(stream(), args);
  };
  std::vector<Bits> first;
  for (DecodeCall& call : calls) {
    launch(call);
    EXPECT_TRUE(call.matches_reference()) << description(call.test);
    first.push_back(bits_of(call));
  }
  for (int round = 0; round < 100; ++round) {
    for (DecodeCall& call : calls) clear(call);
    for (const DecodeCall& call : calls) launch(call);
    for (std::size_t i = 0; i < calls.size(); ++i)
      ASSERT_TRUE(bits_of(calls[i]) == first[i]) << "round " << round << ", " << description(calls[i].test);
  }
}

}  // namespace
}  // namespace kiln::test
