#include "cuda/cuda_error.hpp"
#include "cuda/fake_driver.hpp"
#include "cuda/graph.hpp"
#include "cuda/stream.hpp"

#include <fmt/format.h>

#include <cstdio>

namespace kiln::cuda {
namespace {

using DriverTest = FakeDriverTest;

TEST_F(DriverTest, ReadsWhatPlanningNeeds) {
  FakeDevice device{
      .name = {}, .capability = 103, .sm_count = 148, .smem_per_block = 1, .smem_per_sm = 2, .memory_bytes = 3};
  std::snprintf(device.name, sizeof(device.name), "Some GPU");
  fake.set_device(1, &device);
  EXPECT_EQ(driver->device_count(), 2);
  EXPECT_EQ(driver->device_info(0), (plan::DeviceInfo{"Fake GPU", 90, 132, 227 * 1024, 228 * 1024}));
  EXPECT_EQ(driver->device_info(1), (plan::DeviceInfo{"Some GPU", 103, 148, 1, 2}));
}

TEST_F(DriverTest, ADeviceThatIsNotThereIsNamed) {
  for (const int ordinal : {-1, 2}) {
    EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { (void)driver->device_info(ordinal); }),
                AllOf(HasSubstr(fmt::format("no CUDA device {}", ordinal)), HasSubstr("sees 2")));
  }
}

TEST_F(DriverTest, AnErrorSaysWhatWasBeingDone) {
  fake.fail("cuDeviceGetAttribute", CUDA_ERROR_UNKNOWN);
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { (void)driver->device_info(0); }),
              testing::Eq("reading a device's attributes: CUDA_ERROR_UNKNOWN (999): unknown error"));
}

TEST_F(DriverTest, KnowsTheCallersDevice) {
  EXPECT_EQ(driver->current_device(), std::nullopt);
  {
    const FakeContext outer(fake, 1);
    EXPECT_EQ(driver->current_device(), 1);
    const FakeContext inner(fake, 0);
    EXPECT_EQ(driver->current_device(), 0);
  }
  EXPECT_EQ(driver->current_device(), std::nullopt);
}

TEST_F(DriverTest, MakesAndChangesNoContext) {
  const FakeContext context(fake, 1);
  void* const before = fake.context_current();
  const auto module = load_module(0, 100 * 1024);
  (void)driver->device_info(0);
  (void)driver->capturing(nullptr);
  EXPECT_EQ(fake.context_current(), before);
  EXPECT_EQ(fake.context_depth(), 1);
  EXPECT_EQ(fake.call_count("cuDevicePrimaryCtxRetain"), 0U);
  EXPECT_EQ(fake.call_count("cuCtxPushCurrent"), 0U);
}

TEST_F(DriverTest, SeesACapture) {
  const FakeContext context(fake, 0);
  const StreamHandle stream(driver);
  const StreamHandle other(driver);
  EXPECT_FALSE(driver->capturing(stream.get()));
  {
    const StreamCapture capture(driver, stream.get());
    EXPECT_TRUE(driver->capturing(stream.get()));
    EXPECT_FALSE(driver->capturing(other.get()));
    EXPECT_FALSE(driver->capturing(nullptr)) << "a non-blocking stream leaves the default stream alone";
  }
  EXPECT_FALSE(driver->capturing(stream.get()));
}

TEST_F(DriverTest, ABrokenCaptureIsStillOne) {
  const FakeContext context(fake, 0);
  const StreamHandle stream(driver);
  const StreamCapture capture(driver, stream.get());
  EXPECT_THROW(stream.synchronize(), Error);
  EXPECT_TRUE(driver->capturing(stream.get()));
}

TEST_F(DriverTest, TheDefaultStreamCountsAsCapturedWithAStreamThatWaitsForIt) {
  const FakeContext context(fake, 0);
  CUstream blocking = nullptr;
  ASSERT_EQ(driver->functions().cuStreamCreate(&blocking, CU_STREAM_DEFAULT), CUDA_SUCCESS);
  const StreamCapture capture(driver, blocking);
  EXPECT_TRUE(driver->capturing(nullptr));
}

TEST_F(DriverTest, NothingIsCapturedWhereNothingCanBe) {
  EXPECT_FALSE(driver->capturing(nullptr)) << "no context";
  fake.shut_down();
  EXPECT_FALSE(driver->capturing(nullptr));
  EXPECT_EQ(driver->current_device(), std::nullopt);
}

}  // namespace
}  // namespace kiln::cuda
