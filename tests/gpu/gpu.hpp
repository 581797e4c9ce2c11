#pragma once

#include "cuda/context.hpp"
#include "cuda/device_memory.hpp"
#include "cuda/driver.hpp"
#include "cuda/stream.hpp"

#include <kiln/kiln.hpp>

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kiln::test {

/// The GPU that the suite runs on, found once. Everything else here asks it.
class Gpu {
 public:
  /// Why there is no GPU to test on; empty if there is one.
  static const std::string& missing();
  static const std::shared_ptr<const cuda::Driver>& driver();
  static const plan::DeviceInfo& info();
  static std::size_t free_bytes();
  /// Waits for all of the GPU's work.
  static void synchronize();
  /// The Runtime that tests share, with the options of the environment.
  static const Runtime& runtime();
};

/// Skips its tests, with the reason, where there is no GPU. Tests run with the device's primary
/// context current, on a stream of their own.
class GpuTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  [[nodiscard]] Stream stream() const { return stream_->get(); }
  void synchronize() const { stream_->synchronize(); }

 private:
  std::unique_ptr<cuda::StreamHandle> stream_;
};

/// For SetUpTestSuite: whether a test of the current suite was chosen, by name.
bool is_to_run(std::string_view test);

/// For SetUpTestSuite: compiles what a suite will ask for at once and in parallel, unless there is no GPU.
void prepare_for_suite(const std::vector<KernelRequest>& requests);

/// As many bytes of a kernel's workspace as a call asks for, zeroed as the contract says.
cuda::DeviceBuffer make_workspace(const DecodeKernel& kernel, DecodeArgs& args);

}  // namespace kiln::test
