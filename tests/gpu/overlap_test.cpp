// Kernels that are placed while the one before them ends: each must still see all that was written before it.
#include "cuda/graph.hpp"
#include "gpu/decode_call.hpp"
#include "gpu/forward_call.hpp"

#include <cstddef>
#include <vector>

namespace kiln::test {
namespace {

constexpr int kSteps = 8;

class Overlap : public GpuTest {
 protected:
  /// Calls in a row, each of which takes the last one's results for its queries. Before them all but the first queries
  /// are NaN, so that what is read too early shows at the end.
  template <class Kernel, class Args>
  class Chain {
   public:
    Chain(const Kernel& kernel, const Args& args, const Tensor& queries)
        : kernel_(kernel), args_(args), first_(queries.elements()), between_(Gpu::driver(), 1 << 20) {
      for (int i = 0; i <= kSteps; ++i) results_.emplace_back(Gpu::driver(), first_.size());
      args_.lse = nullptr;
    }

    void clear() {
      for (auto& result : results_) result.fill(std::byte{0xff});
      results_[0].upload(first_);
    }

    template <class After>
    void launch(Stream stream, const After& after) {
      for (std::size_t i = 0; i < kSteps; ++i) {
        args_.q.data = results_[i].data();
        args_.out.data = results_[i + 1].data();
        kernel_.launch(stream, args_);
        after(i);
      }
    }
    /// Something that is no kernel.
    void work_between(Stream stream) { between_.fill_async(std::byte{1}, stream); }

    [[nodiscard]] std::vector<std::byte> last() const {
      Gpu::synchronize();
      std::vector<std::byte> bytes(first_.size());
      results_.back().download(bytes);
      return bytes;
    }

   private:
    const Kernel& kernel_;
    Args args_;
    std::vector<std::byte> first_;
    std::vector<cuda::DeviceBuffer> results_;
    cuda::DeviceBuffer between_;
  };

  template <class Kernel, class Args>
  void expect_order(const Kernel& kernel, const Args& args, const Tensor& queries) const {
    Chain chain(kernel, args, queries);
    chain.clear();
    chain.launch(stream(), [&](std::size_t) { synchronize(); });
    const auto right = chain.last();

    const auto with_others = [&](std::size_t i) {
      if (i % 3 == 1) chain.work_between(stream());
    };
    for (int repeat = 0; repeat < 20; ++repeat) {
      chain.clear();
      chain.launch(stream(), with_others);
      ASSERT_EQ(chain.last(), right) << "in a stream, repeat " << repeat;
    }
    cuda::StreamCapture capture(Gpu::driver(), stream());
    chain.launch(stream(), with_others);
    const cuda::Graph graph = capture.finish();
    for (int repeat = 0; repeat < 20; ++repeat) {
      chain.clear();
      graph.launch(stream());
      ASSERT_EQ(chain.last(), right) << "in a graph, repeat " << repeat;
    }
  }
};

TEST_F(Overlap, DecodeCallsSeeTheResultsOfThoseBefore) {
  for (const int num_splits : {0, 7}) {
    DecodeCall call({.max_len_k = 3000, .lengths = {3000, 2999, 517, 0}, .num_splits = num_splits});
    call.upload();
    call.launch(stream());  // makes kernel and workspace
    expect_order(Gpu::runtime().decode(call.test.config), call.args(), call.q);
  }
}

TEST_F(Overlap, ForwardCallsSeeTheResultsOfThoseBefore) {
  ForwardCall call({.config = {.causal = true}, .batch = 2, .len_q = 1500, .len_k = 1500, .heads_q = 8, .heads_kv = 2});
  call.upload();
  expect_order(Gpu::runtime().forward(call.test.config), call.args(), call.q);
}

}  // namespace
}  // namespace kiln::test
