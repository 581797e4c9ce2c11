#include "cuda/driver_functions.hpp"
#include "cuda/fake_driver.hpp"
#include "cuda/find_driver.hpp"

#include <fmt/format.h>

#include <dlfcn.h>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace kiln::cuda {
namespace {

TEST(LoadDriver, TheExplicitPathIsTheOnlyOneTried) {
  const auto message = error_of(ErrorCode::cuda, [] { Driver::load("/nowhere/libcuda.so.1"); });
  EXPECT_THAT(message, AllOf(HasSubstr("path given, /nowhere/libcuda.so.1"), HasSubstr("No such file")));
}

TEST(LoadDriver, AMissingOneSaysWhatToInstallAndWhereItWasLookedFor) {
  const std::vector<const char*> candidates = {"libcuda_nowhere.so.1", "/nowhere/libcuda.so.1"};
  const auto message = error_of(ErrorCode::cuda, [&] { open_driver(std::nullopt, candidates); });
  EXPECT_THAT(message, AllOf(HasSubstr("install the NVIDIA driver"), HasSubstr("libcuda_nowhere.so.1 ("),
                             HasSubstr(", /nowhere/libcuda.so.1 (")));
}

TEST(LoadDriver, TakesTheFirstCandidateThatOpens) {
  const FakeCuda fake;
  const std::vector<const char*> candidates = {"/nowhere/libcuda.so.1", KILN_FAKE_CUDA_PATH, KILN_OLD_CUDA_PATH};
  EXPECT_EQ(open_driver(std::nullopt, candidates).path(), FakeCuda::path());
}

TEST(LoadDriver, AnOldOneIsNamedWithItsVersion) {
  const auto message = error_of(ErrorCode::cuda, [] { Driver::load(FakeCuda::old_driver_path()); });
  EXPECT_THAT(message, AllOf(HasSubstr(FakeCuda::old_driver_path().string()), HasSubstr("supports CUDA 11.8"),
                             HasSubstr("12.0 or newer"), HasSubstr("cuLibraryLoadData")));
}

TEST(LoadDriver, AVersionBelowTwelveIsRefusedEvenWithTheFunction) {
  const FakeCuda fake;
  fake.set_version(11080);
  EXPECT_THAT(error_of(ErrorCode::cuda, [] { Driver::load(FakeCuda::path()); }), HasSubstr("supports CUDA 11.8"));
  EXPECT_EQ(fake.call_count("cuInit"), 0U);
}

TEST(LoadDriver, AForeignLibraryIsNotTakenForADriver) {
  Dl_info here{};
  ASSERT_NE(dladdr(reinterpret_cast<void*>(&dlopen), &here), 0);  // some library that is no libcuda
  const std::filesystem::path foreign = here.dli_fname;
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { Driver::load(foreign); }),
              AllOf(HasSubstr(foreign.string()), HasSubstr("not the NVIDIA driver's libcuda")));
}

TEST(LoadDriver, TellsItsVersionAndPath) {
  const FakeCuda fake;
  fake.set_version(12080);
  const auto driver = Driver::load(FakeCuda::path());
  EXPECT_EQ(driver->version(), 12080);
  EXPECT_EQ(driver->path(), FakeCuda::path());
  EXPECT_EQ(version_text(driver->version()), "12.8");
}

TEST(LoadDriver, StaysInTheProcess) {
  {
    const auto library = open_driver(FakeCuda::old_driver_path(), {});
  }
  EXPECT_NE(dlopen(KILN_OLD_CUDA_PATH, RTLD_NOW | RTLD_NOLOAD), nullptr);
}

struct InitFailure {
  const char* name;
  CUresult result;
  const char* advice;
};

class FailingInit : public testing::TestWithParam<InitFailure> {};

TEST_P(FailingInit, SaysWhatToDo) {
  const FakeCuda fake;
  fake.fail("cuInit", GetParam().result);
  EXPECT_THAT(error_of(ErrorCode::cuda, [] { Driver::load(FakeCuda::path()); }),
              AllOf(HasSubstr("starting the NVIDIA driver: CUDA_ERROR_"),
                    HasSubstr(fmt::format("({})", static_cast<int>(GetParam().result))), HasSubstr(GetParam().advice)));
}

INSTANTIATE_TEST_SUITE_P(LoadDriver, FailingInit,
                         testing::Values(InitFailure{"no_device", CUDA_ERROR_NO_DEVICE, "CUDA_VISIBLE_DEVICES"},
                                         InitFailure{"mismatch", CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "reboot"},
                                         InitFailure{"fabric", CUDA_ERROR_SYSTEM_NOT_READY, "fabricmanager"},
                                         InitFailure{"stub", CUDA_ERROR_STUB_LIBRARY, "link stub"}),
                         [](const auto& test) { return test.param.name; });

TEST(LoadDriver, NoDeviceAtAll) {
  const FakeCuda fake;
  fake.set_devices(0, 90);
  EXPECT_THAT(error_of(ErrorCode::cuda, [] { Driver::load(FakeCuda::path()); }),
              HasSubstr("CUDA_ERROR_NO_DEVICE (100)"));
}

TEST(LoadDriver, AnErrorTheDriverCannotNameIsStillReported) {
  const FakeCuda fake;
  fake.fail("cuInit", 1001);
  EXPECT_THAT(error_of(ErrorCode::cuda, [] { Driver::load(FakeCuda::path()); }),
              HasSubstr("unknown error (1001): no description"));
}

}  // namespace
}  // namespace kiln::cuda
