#pragma once

#include "cuda/driver.hpp"
#include "support/expect_error.hpp"
#include "support/fake_cuda_control.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <memory>
#include <utility>

namespace kiln::cuda {

using test::error_of;
using test::FakeContext;
using test::FakeCuda;
using testing::AllOf;
using testing::HasSubstr;

/// What stands for a kernel's binary: the fake looks at no more than the first bytes.
inline constexpr std::array<std::byte, 16> kImage = {std::byte{'k'}, std::byte{'i'}, std::byte{'l'}, std::byte{'n'}};

struct SampleParams {
  const void* data;
  long long length;
  float scale;
  int reserved;
};

/// The driver over the fake libcuda, which is as new for each test.
class FakeDriverTest : public testing::Test {
 protected:
  FakeDriverTest() { fake.set_params_bytes(sizeof(SampleParams)); }

  [[nodiscard]] std::unique_ptr<Module> load_module(int device = 0, int smem_bytes = 0) const {
    return std::make_unique<Module>(driver, kImage, "entry", smem_bytes, device);
  }

  FakeCuda fake;
  std::shared_ptr<const Driver> driver = Driver::load(FakeCuda::path());
};

}  // namespace kiln::cuda
