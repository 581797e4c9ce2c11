// The Runtime on a real driver: where kernels come from, what it counts, what it leaves alone.
#include "gpu/decode_call.hpp"
#include "gpu/forward_call.hpp"
#include "support/expect_error.hpp"
#include "support/temp_folder.hpp"

namespace kiln::test {
namespace {

constexpr AttentionConfig kConfig{.head_dim_qk = 64, .head_dim_v = 64, .causal = true};

class RuntimeOnGpu : public GpuTest {
 protected:
  [[nodiscard]] Options options() const {
    Options out = Options::from_environment();
    out.cache_dir = folder_.path() / "cache";
    out.precompiled.reset();
    return out;
  }
  test::TempFolder folder_;
};

TEST_F(RuntimeOnGpu, CountsCompilesHitsAndLaunches) {
  const Runtime runtime(options());
  ForwardCall call({.config = kConfig, .len_q = 40, .len_k = 40});
  call.upload();
  call.launch(stream(), runtime);
  call.launch(stream(), runtime);
  EXPECT_TRUE(call.matches_reference());
  const Stats stats = runtime.stats();
  EXPECT_EQ(stats.compiles, 1U);
  EXPECT_EQ(stats.memory_hits, 1U);
  EXPECT_EQ(stats.disk_hits, 0U);
  EXPECT_EQ(stats.launches, 2U);
  EXPECT_GT(stats.compile_ms, 0);
  EXPECT_GT(stats.load_ms, 0);
}

TEST_F(RuntimeOnGpu, ASecondRuntimeIsServedFromDiskAndComputesTheSame) {
  ForwardCall call({.config = kConfig, .len_q = 77, .len_k = 140});
  call.upload();
  call.launch(stream(), Runtime(options()));
  EXPECT_TRUE(call.matches_reference());
  const auto compiled = call.out.elements();
  const Runtime second(options());
  call.launch(stream(), second);
  EXPECT_TRUE(call.matches_reference());
  EXPECT_TRUE(call.out.elements() == compiled);
  EXPECT_EQ(second.stats().disk_hits, 1U);
  EXPECT_EQ(second.stats().compiles, 0U);
  EXPECT_EQ(second.forward(kConfig).info().origin, Origin::disk);
}

TEST_F(RuntimeOnGpu, JitOffServesWhatIsThereAndRefusesTheRest) {
  static_cast<void>(Runtime(options()).decode(kConfig));
  Options off = options();
  off.jit = false;
  const Runtime runtime(off);
  DecodeCall call({.config = kConfig, .lengths = {256, 3}});
  call.upload();
  call.launch(stream(), runtime);
  EXPECT_TRUE(call.matches_reference());
  const std::string words =
      test::error_of(ErrorCode::missing_kernel, [&] { static_cast<void>(runtime.forward(kConfig)); });
  EXPECT_THAT(words, ::testing::HasSubstr("kiln precompile"));
}

TEST_F(RuntimeOnGpu, InfoDescribesTheKernel) {
  const KernelInfo info = Gpu::runtime().forward(kConfig).info();
  EXPECT_EQ(info.request, (KernelRequest{KernelKind::forward, kConfig}));
  EXPECT_EQ(info.target, "sm_" + std::to_string(Gpu::info().capability));
  EXPECT_EQ(info.kernel_id.size(), 64U);
  EXPECT_GT(info.registers, 0);
  EXPECT_EQ(info.spill_bytes, 0);
  EXPECT_GT(info.smem_bytes, 0);
}

TEST_F(RuntimeOnGpu, PrepareReportsProgressUpToTheEnd) {
  const Runtime runtime(options());
  const std::vector<KernelRequest> requests = {{KernelKind::forward, kConfig}, {KernelKind::decode, kConfig}};
  std::vector<int> done;
  runtime.prepare(requests, [&](const Progress& progress) {
    EXPECT_EQ(progress.total, 2);
    done.push_back(progress.done);
  });
  ASSERT_FALSE(done.empty());
  EXPECT_EQ(done.back(), 2);
  EXPECT_EQ(runtime.stats().compiles, 2U);
}

TEST_F(RuntimeOnGpu, NoCallAllocatesDeviceMemory) {
  // One warm call takes what the driver itself wants at a first launch.
  DecodeCall call({.max_len_k = 3000, .lengths = {3000, 5}, .num_splits = 16});
  ForwardCall prefill({.len_q = 500, .len_k = 500});
  call.upload();
  prefill.upload();
  call.launch(stream());
  prefill.launch(stream());
  synchronize();
  const std::size_t before = Gpu::free_bytes();
  for (int i = 0; i < 100; ++i) {
    call.launch(stream());
    prefill.launch(stream());
  }
  synchronize();
  EXPECT_EQ(Gpu::free_bytes(), before);
}

}  // namespace
}  // namespace kiln::test
