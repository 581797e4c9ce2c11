#include "jit/compiler.hpp"

#include "base/files.hpp"
#include "jit/fake_elf.hpp"
#include "support/expect_error.hpp"
#include "support/temp_folder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace kiln::jit {
namespace {

using test::error_of;
using test::ScopedVariable;
using testing::HasSubstr;

constexpr const char* kSource = R"(
extern "C" __global__ void __launch_bounds__(64) scale_kernel(float* x) {
  __shared__ float part[64];
  part[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = 2.0f * part[63 - threadIdx.x];
})";

Binary compile(const Compiler& compiler, const std::string& source, const std::string& target = "sm_90") {
  return compiler.compile(source, "scale.cu", "scale_kernel", compile_options(target));
}

std::string text_of(const Binary& binary) {
  return {reinterpret_cast<const char*>(binary.image.data()), binary.image.size()};
}

std::shared_ptr<const Compiler> load(const std::filesystem::path& path) {
  const auto file = find_compiler(path);
  if (!file) throw Error(ErrorCode::io, "no " + path.string());
  return Compiler::load(*file);
}

// ---- Without NVRTC ------------------------------------------------------------------------------

class ShimTest : public testing::Test {
 protected:
  const ScopedVariable fake_{"NVRTC_SHIM_FAKE", "1"};
};

TEST_F(ShimTest, CompilesToBytesOfTheSourceAndOptions) {
  const auto compiler = load(KILN_NVRTC_SHIM);
  EXPECT_EQ(compiler->version(), "13.0");
  EXPECT_EQ(compiler->identity(), find_compiler(KILN_NVRTC_SHIM)->identity);
  EXPECT_THAT(compiler->supported_capabilities(), testing::Contains(90));
  const Binary first = compile(*compiler, kSource);
  EXPECT_EQ(first.image, compile(*compiler, kSource).image);
  EXPECT_NE(first.image, compile(*compiler, std::string(kSource) + " ").image);
  EXPECT_NE(first.image, compile(*compiler, kSource, "sm_80").image);
  EXPECT_THAT(text_of(first), testing::StartsWith("\x7f"
                                                  "ELF"));
  EXPECT_THAT(text_of(first), HasSubstr(std::string("scale_kernel\0", 13)));
  EXPECT_GT(first.image.size(), 4096U);
  EXPECT_EQ(first.resources.registers, 96) << first.log;
  EXPECT_EQ(first.resources.spill_bytes(), 0);
}

TEST_F(ShimTest, CountsSpillsAndDawdlesAsTold) {
  const test::TempFolder temp;
  const ScopedVariable count("NVRTC_SHIM_COUNT", (temp.path() / "count").string());
  const ScopedVariable spill("NVRTC_SHIM_SPILL", "8");
  const ScopedVariable delay("NVRTC_SHIM_DELAY_MS", "30");
  const auto compiler = load(KILN_NVRTC_SHIM);
  const Binary binary = compile(*compiler, kSource);
  EXPECT_EQ(binary.resources.spill_bytes(), 16);
  EXPECT_GE(binary.compile_ms, 30.0);
  (void)compile(*compiler, kSource);
  const std::string line = std::to_string(getpid()) + " scale.cu\n";
  EXPECT_EQ(base::read_file(temp.path() / "count"), line + line);
}

TEST_F(ShimTest, ABadSourceIsRefused) {
  const auto compiler = load(KILN_NVRTC_SHIM);
  EXPECT_THAT(error_of(ErrorCode::compile, [&] { (void)compile(*compiler, "#error no"); }), HasSubstr("#error"));
}

TEST_F(ShimTest, PtxTargetsGivePtxWithItsFinalNul) {
  const auto compiler = load(KILN_NVRTC_SHIM);
  EXPECT_EQ(compile(*compiler, kSource, "compute_121").image.back(), std::byte{0});
}

struct Failure {
  const char* how;
  const char* message;
};

class ShimLoadFailure : public testing::TestWithParam<Failure> {};

TEST_P(ShimLoadFailure, IsACompileError) {
  const ScopedVariable fake("NVRTC_SHIM_FAKE", "1");
  const ScopedVariable how("NVRTC_SHIM_FAIL", GetParam().how);
  const std::string message = error_of(ErrorCode::compile, [] { (void)load(KILN_NVRTC_SHIM); });
  EXPECT_THAT(message, AllOf(HasSubstr(KILN_NVRTC_SHIM), HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(All, ShimLoadFailure,
                         testing::Values(Failure{"version", "NVRTC_ERROR_INTERNAL_ERROR"},
                                         Failure{"old", "NVRTC 12.8, but Kiln needs 12.9"}),
                         [](const auto& param) { return param.param.how; });

class ShimCompileFailure : public testing::TestWithParam<Failure> {};

TEST_P(ShimCompileFailure, NamesSourceReasonAndOptions) {
  const ScopedVariable fake("NVRTC_SHIM_FAKE", "1");
  const auto compiler = load(KILN_NVRTC_SHIM);
  const ScopedVariable how("NVRTC_SHIM_FAIL", GetParam().how);
  const std::string message = error_of(ErrorCode::compile, [&] { (void)compile(*compiler, kSource); });
  EXPECT_THAT(message, AllOf(HasSubstr("scale.cu"), HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(All, ShimCompileFailure,
                         testing::Values(Failure{"create", "NVRTC_ERROR_PROGRAM_CREATION_FAILURE"},
                                         Failure{"compile", "error: the shim was told to fail\noptions: --gpu-arch"},
                                         Failure{"memory", "NVRTC_ERROR_OUT_OF_MEMORY\noptions: --gpu-arch"},
                                         Failure{"cubin", "no code"}),
                         [](const auto& param) { return param.param.how; });

TEST_F(ShimTest, FailingToListTargetsIsACompileError) {
  const auto compiler = load(KILN_NVRTC_SHIM);
  const ScopedVariable how("NVRTC_SHIM_FAIL", "archs");
  EXPECT_THAT(error_of(ErrorCode::compile, [&] { (void)compiler->supported_capabilities(); }), HasSubstr("13.0"));
}

TEST_F(ShimTest, AMissingFunctionIsNamed) {
  EXPECT_THAT(error_of(ErrorCode::compile, [] { (void)load(KILN_NVRTC_SHIM_INCOMPLETE); }),
              AllOf(HasSubstr("nvrtcGetCUBIN"), HasSubstr(KILN_NVRTC_SHIM_INCOMPLETE)));
}

TEST(Compiler, AFileThatIsNoLibraryIsACompileError) {
  const test::TempFolder temp;
  const auto path = temp.write("libnvrtc.so.13", "nonsense");
  EXPECT_THAT(error_of(ErrorCode::compile, [&] { (void)load(path); }), HasSubstr(path.string()));
}

TEST(Compiler, AnotherProcessorsLibraryIsNamedSo) {
  const test::TempFolder temp;
  const auto path = temp.write("libnvrtc.so.13", test::fake_elf(test::note(test::kGnu, "x"), test::kOtherMachine));
  EXPECT_THAT(error_of(ErrorCode::compile, [&] { (void)load(path); }),
              AllOf(HasSubstr(path.string()), HasSubstr("another processor")));
}

TEST_F(ShimTest, AStopCancelsACompileSoon) {
  const ScopedVariable slow("NVRTC_SHIM_DELAY_MS", "20000");
  const auto compiler = load(KILN_NVRTC_SHIM);
  std::stop_source stop;
  const std::jthread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    stop.request_stop();
  });
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(error_of(ErrorCode::cancelled,
                       [&] {
                         (void)compiler->compile(kSource, "scale.cu", "scale_kernel", compile_options("sm_90"),
                                                 stop.get_token());
                       }),
              HasSubstr("scale.cu"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

// ---- With the NVRTC of this machine -------------------------------------------------------------

class NvrtcTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string searched;
    file_ = find_compiler(std::nullopt, &searched);
    if (!file_) GTEST_SKIP() << "no NVRTC on this machine; looked in: " << searched;
    compiler_ = Compiler::load(*file_);
  }

  std::optional<CompilerFile> file_;
  std::shared_ptr<const Compiler> compiler_;
};

TEST_F(NvrtcTest, CompilesForEveryTargetThatItSupports) {
  const std::vector<int> capabilities = compiler_->supported_capabilities();
  EXPECT_THAT(capabilities, testing::IsSupersetOf({80, 86, 89, 90, 100, 120}));
  for (const int capability : capabilities) {
    const Binary binary = compile(*compiler_, kSource, choose_target(capability, capabilities));
    EXPECT_THAT(text_of(binary), testing::StartsWith("\x7f"
                                                     "ELF"))
        << capability;
    EXPECT_GT(binary.resources.registers, 0) << binary.log;
    EXPECT_EQ(binary.resources.static_smem_bytes, 256) << binary.log;
    EXPECT_EQ(binary.resources.spill_bytes(), 0);
    EXPECT_GT(binary.compile_ms, 0.0);
  }
}

TEST_F(NvrtcTest, ReportsSpills) {
  const Binary binary = compile(*compiler_, R"(
extern "C" __global__ void __launch_bounds__(1024) scale_kernel(float* x) {
  float kept[200];
#pragma unroll
  for (int i = 0; i < 200; ++i) kept[i] = x[i * 1024 + threadIdx.x];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 200; ++i) x[i * 1024 + threadIdx.x * 3] = kept[199 - i] * kept[i];
})");
  EXPECT_GT(binary.resources.spill_store_bytes, 0) << binary.log;
  EXPECT_GT(binary.resources.spill_load_bytes, 0) << binary.log;
  EXPECT_GT(binary.resources.stack_bytes, 0) << binary.log;
  EXPECT_EQ(binary.resources.registers, 64) << binary.log;
}

TEST_F(NvrtcTest, MakesPtx) {
  const Binary binary = compile(*compiler_, kSource, "compute_90");
  EXPECT_THAT(text_of(binary), HasSubstr(".target sm_90"));
  EXPECT_EQ(binary.image.back(), std::byte{0});
}

TEST_F(NvrtcTest, ABadSourceNamesLineOptionsAndFile) {
  const std::string message = error_of(ErrorCode::compile, [&] {
    (void)compile(*compiler_, "extern \"C\" __global__ void scale_kernel(float* x) {\n  x[0] = nope;\n}");
  });
  EXPECT_THAT(message, AllOf(HasSubstr("cannot compile scale.cu"), HasSubstr("scale.cu(2): error: identifier \"nope\""),
                             HasSubstr("--gpu-architecture=sm_90 --std=c++20")));
  EXPECT_THAT(error_of(ErrorCode::compile, [&] { (void)compile(*compiler_, kSource, "sm_1"); }), HasSubstr("sm_1"));
}

TEST_F(NvrtcTest, ThreadsGetTheBytesOfASingleOne) {
  const std::vector<std::byte> alone = compile(*compiler_, kSource).image;
  std::vector<std::vector<std::byte>> together(4);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < together.size(); ++i) {
      threads.emplace_back([&, i] { together[i] = compile(*compiler_, kSource, i < 2 ? "sm_90" : "sm_80").image; });
    }
  }
  EXPECT_EQ(together[0], alone);
  EXPECT_EQ(together[1], alone);
  EXPECT_EQ(together[2], together[3]);
  EXPECT_NE(together[2], alone);
}

TEST_F(NvrtcTest, AStopCancelsACompileSoon) {
  // Some seconds of work if it were let: a long chain of calls that all are inlined.
  std::string source = "__device__ float f0(float x) { return x * 1.5f + 1.0f; }\n";
  for (int i = 1; i < 16; ++i) {
    const auto before = "f" + std::to_string(i - 1);
    source += "__device__ float f" + std::to_string(i) + "(float x) { return " + before + "(x) * " + before + "(x + " +
              std::to_string(i) + ".0f); }\n";
  }
  source += "extern \"C\" __global__ void scale_kernel(float* x) { x[0] = f15(x[0]); }";
  std::stop_source stop;
  const std::jthread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    stop.request_stop();
  });
  const auto start = std::chrono::steady_clock::now();
  error_of(ErrorCode::cancelled, [&] {
    (void)compiler_->compile(source, "long.cu", "scale_kernel", compile_options("sm_90"), stop.get_token());
  });
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(3));
  EXPECT_GT(compile(*compiler_, kSource).image.size(), 0U) << "the next one is not disturbed";
}

TEST_F(NvrtcTest, CanBeLoadedAgain) {
  const std::vector<std::byte> before = compile(*compiler_, kSource).image;
  compiler_.reset();
  compiler_ = Compiler::load(*file_);
  EXPECT_EQ(compile(*compiler_, kSource).image, before);
}

// A wheel's folder holds the two libraries and nothing tells the loader of it.
TEST_F(NvrtcTest, TakesTheBuiltinsBesideIt) {
  compiler_.reset();  // else the loader answers with the builtins that it already holds
  const auto real = std::filesystem::canonical(file_->path);
  const test::TempFolder temp;
  const auto folder = temp.path() / "site-packages/nvidia/cu13/lib";
  std::filesystem::create_directories(folder);
  std::filesystem::copy_file(real, folder / file_->path.filename());
  int copied = 0;
  for (const auto& entry : std::filesystem::directory_iterator(real.parent_path())) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("libnvrtc-builtins.so.")) continue;
    std::filesystem::copy_file(std::filesystem::canonical(entry.path()), folder / name);
    ++copied;
  }
  if (copied == 0) GTEST_SKIP() << "no libnvrtc-builtins beside " << real;
  const auto compiler = load(folder / file_->path.filename());
  EXPECT_GT(compile(*compiler, kSource).image.size(), 0U);
  const std::string maps = base::read_file("/proc/self/maps");
  EXPECT_THAT(maps, HasSubstr((folder / "libnvrtc-builtins").string()));
}

TEST_F(NvrtcTest, TheShimForwardsToIt) {
  const ScopedVariable real("NVRTC_SHIM_NVRTC", file_->path.string());
  const auto shim = load(KILN_NVRTC_SHIM);
  EXPECT_EQ(shim->version(), compiler_->version());
  EXPECT_EQ(shim->supported_capabilities(), compiler_->supported_capabilities());
  EXPECT_EQ(compile(*shim, kSource).image, compile(*compiler_, kSource).image);
  EXPECT_THAT(error_of(ErrorCode::compile, [&] { (void)compile(*shim, "nope"); }), HasSubstr("error"));
}

}  // namespace
}  // namespace kiln::jit
