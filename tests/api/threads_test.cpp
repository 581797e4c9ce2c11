// Everything that threads may do with one Runtime, at once. Worth most under ThreadSanitizer (scripts/check.sh tsan).
#include "api/fake_machine.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

namespace kiln {
namespace {

using test::FakeContext;
using test::forward_args;

using ThreadsTest = test::FakeMachine;

std::vector<KernelRequest> many_requests() {
  std::vector<KernelRequest> out;
  for (const auto kind : {KernelKind::forward, KernelKind::decode})
    for (const auto dtype : {DType::f16, DType::bf16})
      for (const int dim : {64, 128})
        for (const auto window : {Window::none, Window::sliding})
          out.push_back({kind, {.dtype = dtype, .head_dim_qk = 128, .head_dim_v = dim, .window = window}});
  return out;
}

DecodeArgs args_for_decode() {
  const auto args = forward_args();
  return {.q = args.q,
          .k_cache = args.k,
          .v_cache = args.v,
          .out = args.out,
          .batch = 2,
          .max_len_k = 100,
          .heads_q = 8,
          .heads_kv = 2,
          .num_splits = 1};
}

/// One thread's random walk over the public calls.
class Walk {
 public:
  Walk(const Runtime& runtime, const std::vector<KernelRequest>& all, unsigned seed)
      : runtime_(runtime), all_(all), random_(seed) {}

  void step() {
    switch (pick(8)) {
      case 0:
        return runtime_.prepare(some());
      case 1:
        return prepare_and_cancel();
      case 2:
        return prepare_and_forget();
      case 3:
        EXPECT_LE(runtime_.stats().compiles, all_.size());
        return;
      default:
        return launch(all_[pick(all_.size())]);
    }
  }

  [[nodiscard]] int launches() const { return launches_; }

 private:
  std::size_t pick(std::size_t count) { return std::uniform_int_distribution<std::size_t>(0, count - 1)(random_); }
  std::vector<KernelRequest> some() { return {all_[pick(all_.size())], all_[pick(all_.size())]}; }

  void launch(const KernelRequest& request) {
    ++launches_;
    if (request.kind == KernelKind::decode) {
      if (pick(2) == 0) return runtime_.launch(request.config, nullptr, args_for_decode());
      return runtime_.decode(request.config).launch(nullptr, args_for_decode());
    }
    if (pick(2) == 0) return runtime_.launch(request.config, nullptr, forward_args());
    runtime_.forward(request.config).launch(nullptr, forward_args());
  }

  void prepare_and_cancel() {
    const auto preparation = runtime_.prepare_async(some(), [](const Progress& at) { EXPECT_GT(at.done, 0); });
    std::this_thread::sleep_for(std::chrono::microseconds(pick(3000)));
    preparation.cancel();
    try {
      preparation.wait();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::cancelled) << error.what();
    }
    EXPECT_TRUE(preparation.done());
  }

  void prepare_and_forget() {
    const auto preparation = runtime_.prepare_async(some());
    static_cast<void>(preparation.done());
  }

  const Runtime& runtime_;
  const std::vector<KernelRequest>& all_;
  std::mt19937 random_;
  int launches_ = 0;
};

TEST_F(ThreadsTest, SixteenThreadsMixAllCalls) {
  const auto all = many_requests();
  const test::ScopedVariable slow("NVRTC_SHIM_DELAY_MS", "2");
  for (unsigned round = 0; round < 3; ++round) {
    auto cold = options();
    cold.device = 0;
    cold.compile_jobs = 2;
    if (round != 1) cold.cache_dir = std::filesystem::path{};  // only the second round meets the disk
    const Runtime runtime(cold);
    std::atomic<std::uint64_t> launches = 0;
    {
      std::vector<std::jthread> threads;
      for (unsigned t = 0; t < 16; ++t) {
        threads.emplace_back([&, t] {
          const FakeContext context(fake, 0);
          Walk walk(runtime, all, 100 * round + t);
          try {
            for (int i = 0; i < 20; ++i) walk.step();
          } catch (const std::exception& error) {
            ADD_FAILURE() << "thread " << t << ": " << error.what();
          }
          launches += static_cast<std::uint64_t>(walk.launches());
        });
      }
    }
    EXPECT_EQ(runtime.stats().launches, launches);
    EXPECT_LE(runtime.stats().compiles, all.size()) << "no kernel twice";
  }
  EXPECT_EQ(fake.live_libraries(), 0);
}

}  // namespace
}  // namespace kiln
