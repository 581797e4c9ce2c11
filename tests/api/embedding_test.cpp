// What an application does to a library inside it: contexts that come and go, fork, capture, exit. docs/EMBEDDING.md
// promises what is tested here.
#include "api/fake_machine.hpp"
#include "cuda/context.hpp"
#include "cuda/driver_functions.hpp"
#include "cuda/graph.hpp"
#include "cuda/stream.hpp"
#include "support/child.hpp"
#include "support/expect_error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fcntl.h>
#include <future>
#include <optional>
#include <thread>

namespace kiln {
namespace {

using namespace std::chrono_literals;
using test::error_of;
using test::FakeContext;
using test::forward_args;
using test::in_child;
using test::ScopedVariable;
using testing::AllOf;
using testing::HasSubstr;

class EmbeddingTest : public test::FakeMachine {
 protected:
  [[nodiscard]] Options on_device(int device) {
    auto out = options();
    out.device = device;
    return out;
  }
};

/// The message of what `work` throws, "" if nothing: for children, where gtest's words would get lost.
template <class Work>
std::string thrown_by(Work&& work) {
  try {
    work();
  } catch (const Error& error) {
    return std::string(to_string(error.code())) + ": " + error.what();
  }
  return {};
}

bool says_fork(const std::string& words) {
  return words.starts_with("cuda: ") && words.find("does not survive fork") != std::string::npos;
}

// ---- contexts -----------------------------------------------------------------------------------

TEST_F(EmbeddingTest, OneKernelLaunchesInEveryContextOfItsDevice) {
  const Runtime first(on_device(0));
  const Runtime second(on_device(1));
  const FakeContext own(fake, 0);
  const auto kernel = first.forward({});
  kernel.launch(nullptr, forward_args());
  {
    const FakeContext another(fake, 0);
    kernel.launch(nullptr, forward_args());
    const cuda::Context primary(cuda::Driver::load(test::FakeCuda::path()), 0);
    kernel.launch(nullptr, forward_args());
    const cuda::Context primary_of_1(cuda::Driver::load(test::FakeCuda::path()), 1);
    second.forward({}).launch(nullptr, forward_args());
    EXPECT_THAT(error_of(ErrorCode::cuda, [&] { kernel.launch(nullptr, forward_args()); }), HasSubstr("device 1"));
  }
  kernel.launch(nullptr, forward_args());
  EXPECT_EQ(fake.launch_count(), 5);
  EXPECT_EQ(fake.call_count("cuLibraryLoadData"), 2U) << "once a device, not once a context";
}

TEST_F(EmbeddingTest, AContextDestroyedUnderUsIsNamedAndANewOneWorks) {
  const Runtime runtime(on_device(0));
  auto* const context = fake.context_create(0);
  fake.context_set_current(context);
  const auto kernel = runtime.forward({});
  kernel.launch(nullptr, forward_args());
  std::thread([&] { fake.context_destroy(context); }).join();  // still current here
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { kernel.launch(nullptr, forward_args()); }),
              AllOf(HasSubstr("CONTEXT_IS_DESTROYED"), HasSubstr("make a live context")));
  (void)runtime.decode({});  // making a kernel needs no context
  fake.context_set_current(nullptr);
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { kernel.launch(nullptr, forward_args()); }), HasSubstr("no CUDA context"));
  const FakeContext next(fake, 0);
  kernel.launch(nullptr, forward_args());
  EXPECT_EQ(fake.launch_count(), 2);
}

TEST_F(EmbeddingTest, TheDriverMayGoFirst) {
  std::optional<Runtime> runtime(on_device(0));
  const FakeContext context(fake, 0);
  std::optional<ForwardKernel> kernel = runtime->forward({});
  fake.shut_down();
  EXPECT_THAT(error_of(ErrorCode::cuda, [&] { kernel->launch(nullptr, forward_args()); }), HasSubstr("exiting"));
  runtime.reset();
  kernel.reset();
}

TEST_F(EmbeddingTest, AStaticRuntimeSurvivesTheProcesssEnd) {
  for (const bool driver_first : {false, true}) {
    EXPECT_EQ(in_child([&]() -> int {
                static std::optional<Runtime> runtime;
                static std::optional<ForwardKernel> kernel;
                runtime.emplace(on_device(0));
                kernel = runtime->forward({});
                static const auto* const control = &fake;
                if (driver_first) std::atexit([] { control->shut_down(); });
                std::exit(0);
              }),
              0)
        << driver_first;
  }
}

// ---- fork ---------------------------------------------------------------------------------------

TEST_F(EmbeddingTest, AForkedChildIsToldToMakeItsOwnRuntime) {
  std::optional<Runtime> runtime(on_device(0));
  const FakeContext context(fake, 0);
  std::optional<ForwardKernel> kernel = runtime->forward({});
  const std::vector<KernelRequest> requests(1);
  EXPECT_EQ(in_child([&] {
              if (!says_fork(thrown_by([&] { (void)runtime->forward({}); }))) return 1;
              if (!says_fork(thrown_by([&] { (void)runtime->decode({}); }))) return 2;
              if (!says_fork(thrown_by([&] { runtime->launch({}, nullptr, forward_args()); }))) return 3;
              if (!says_fork(thrown_by([&] { kernel->launch(nullptr, forward_args()); }))) return 4;
              if (!says_fork(thrown_by([&] { runtime->prepare(requests); }))) return 5;
              if (!says_fork(thrown_by([&] { (void)runtime->prepare_async(requests); }))) return 6;
              const auto again = thrown_by([&] { const Runtime another(on_device(0)); });
              if (!says_fork(again) || again.find("NOT_INITIALIZED") == std::string::npos) return 7;
              kernel.reset();
              runtime.reset();
              return 0;
            }),
            0);
  kernel->launch(nullptr, forward_args());  // the parent is none the worse
  EXPECT_EQ(fake.live_libraries(), 1);
}

TEST_F(EmbeddingTest, LocksHeldAtForkDoNotHangTheChild) {
  const ScopedVariable slow("NVRTC_SHIM_DELAY_MS", "300");
  std::optional<Runtime> runtime(on_device(0));
  std::optional<Preparation> preparation(runtime->prepare_async(std::vector<KernelRequest>(1)));
  auto waits = std::async(std::launch::async, [&] { return runtime->forward({}).info().origin; });
  auto waits_for_all = std::async(std::launch::async, [&] { preparation->wait(); });
  while (compiles() == 0) std::this_thread::sleep_for(1ms);
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(in_child([&] {
              if (!says_fork(thrown_by([&] { (void)runtime->forward({}); }))) return 1;
              preparation->cancel();
              if (thrown_by([&] { preparation->wait(); }).find("forked") == std::string::npos) return 2;
              preparation.reset();
              runtime.reset();
              return 0;
            }),
            0);
  waits_for_all.get();
  EXPECT_EQ(waits.get(), Origin::compiled);
}

TEST_F(EmbeddingTest, AChildMayStartTheDriverItself) {
  EXPECT_EQ(in_child([&] {
              const FakeContext context(fake, 0);
              const Runtime runtime(options());
              runtime.forward({}).launch(nullptr, forward_args());
              return fake.launch_count();
            }),
            1);
}

// ---- capture ------------------------------------------------------------------------------------

/// A stream that waits for the default stream, so that its capture can be seen from there.
class BlockingStream {
 public:
  explicit BlockingStream(std::shared_ptr<const cuda::Driver> driver) : driver_(std::move(driver)) {
    driver_->functions().cuStreamCreate(&stream_, CU_STREAM_DEFAULT);
  }
  ~BlockingStream() { driver_->functions().cuStreamDestroy(stream_); }
  BlockingStream(const BlockingStream&) = delete;
  BlockingStream& operator=(const BlockingStream&) = delete;
  [[nodiscard]] Stream get() const { return stream_; }

 private:
  std::shared_ptr<const cuda::Driver> driver_;
  CUstream stream_ = nullptr;
};

TEST_F(EmbeddingTest, AskingForAHandleDuringACaptureCompilesNothing) {
  const FakeContext context(fake, 0);
  const auto driver = cuda::Driver::load(test::FakeCuda::path());
  const BlockingStream stream(driver);
  {
    (void)Runtime(options()).decode({});
  }
  const Runtime runtime(options());
  cuda::StreamCapture capture(driver, stream.get());
  EXPECT_THAT(error_of(ErrorCode::capturing, [&] { (void)runtime.forward({}); }), HasSubstr("prepare"));
  EXPECT_EQ(runtime.decode({}).info().origin, Origin::disk) << "loading is allowed";
  (void)capture.finish();
  (void)runtime.forward({});
}

TEST_F(EmbeddingTest, PreparingDuringACaptureIsAllowedAndLeavesItWhole) {
  const FakeContext context(fake, 0);
  const auto driver = cuda::Driver::load(test::FakeCuda::path());
  const cuda::StreamHandle stream(driver);
  const Runtime runtime(options());
  cuda::StreamCapture capture(driver, stream.get());
  error_of(ErrorCode::capturing, [&] { runtime.launch({}, stream.get(), forward_args()); });
  std::thread([&] { runtime.prepare(std::vector<KernelRequest>(1)); }).join();
  runtime.launch({}, stream.get(), forward_args());
  runtime.prepare(std::vector<KernelRequest>{{.kind = KernelKind::forward, .config = {.causal = true}}});
  runtime.launch({.causal = true}, stream.get(), forward_args());
  const auto graph = capture.finish();
  graph.launch(stream.get());
  EXPECT_EQ(fake.launch_count(), 4) << "two captured, two replayed";
  EXPECT_EQ(fake.thread_capture_mode(), 0);
}

TEST_F(EmbeddingTest, AThreadThatWaitedForACapturingOneCompilesItself) {
  const auto driver = cuda::Driver::load(test::FakeCuda::path());
  const Runtime runtime(on_device(0));
  const FakeContext context(fake, 0);
  const cuda::StreamHandle stream(driver);
  const cuda::StreamCapture capture(driver, stream.get());
  std::vector<std::jthread> others;
  for (int i = 0; i < 4; ++i) others.emplace_back([&] { (void)runtime.forward({}); });
  for (int i = 0; i < 50; ++i) {
    try {
      runtime.launch({}, stream.get(), forward_args());
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::capturing) << error.what();
    }
  }
  others.clear();
  EXPECT_EQ(runtime.stats().compiles, 1U);
}

// ---- environment and output ---------------------------------------------------------------------

TEST_F(EmbeddingTest, TheEnvironmentIsNotReadAfterTheStart) {
  const auto toolkit = folder.path() / "toolkit/lib64";
  std::filesystem::create_directories(toolkit);
  std::filesystem::create_symlink(KILN_NVRTC_SHIM, toolkit / "libnvrtc.so.13");
  auto searching = options();
  searching.nvrtc_path.reset();
  searching.cache_dir.reset();
  const FakeContext context(fake, 0);
  const auto first = (folder.path() / "first").string();
  std::optional<Runtime> runtime;
  {
    const ScopedVariable home("CUDA_HOME", (folder.path() / "toolkit").string());
    const ScopedVariable cache("XDG_CACHE_HOME", first);
    runtime.emplace(searching);
  }
  const ScopedVariable no_home("CUDA_HOME", "/nonexistent");
  const ScopedVariable no_path("CUDA_PATH", "/nonexistent");
  const ScopedVariable other_cache("XDG_CACHE_HOME", (folder.path() / "second").string());
  const ScopedVariable other_home("HOME", (folder.path() / "third").string());
  const ScopedVariable off("KILN_JIT", "off");
  const ScopedVariable bad("KILN_COMPILE_JOBS", "nonsense");
  const ScopedVariable flags("NVRTC_APPEND_FLAGS", "-lineinfo");
  const auto kernel = runtime->forward({});
  EXPECT_EQ(kernel.info().origin, Origin::compiled);
  EXPECT_EQ(compiles(), 1) << "by the NVRTC of the first CUDA_HOME";
  EXPECT_TRUE(std::filesystem::exists(first + "/kiln"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "second"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "third"));
}

/// Both standard streams in a file for its scope.
class CapturedOutput {
 public:
  explicit CapturedOutput(const std::filesystem::path& file) : file_(file) {
    std::fflush(nullptr);
    const int target = ::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    for (const int fd : {1, 2}) {
      saved_[fd - 1] = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
      ::dup2(target, fd);
    }
    ::close(target);
  }
  ~CapturedOutput() {
    std::fflush(nullptr);
    for (const int fd : {1, 2}) {
      ::dup2(saved_[fd - 1], fd);
      ::close(saved_[fd - 1]);
    }
  }
  CapturedOutput(const CapturedOutput&) = delete;
  CapturedOutput& operator=(const CapturedOutput&) = delete;
  [[nodiscard]] std::uintmax_t bytes() const {
    std::fflush(nullptr);
    return std::filesystem::file_size(file_);
  }

 private:
  std::filesystem::path file_;
  int saved_[2] = {-1, -1};
};

/// Everything that goes wrong on this machine, one after the other.
void provoke_errors(const Options& good, const std::filesystem::path& folder, const test::FakeCuda& fake) {
  const auto ignore = [](const auto& work) {
    try {
      work();
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): what it says is tested elsewhere
    }
  };
  auto bad = good;
  bad.cuda_path = folder / "none.so";
  ignore([&] { const Runtime runtime(bad); });
  bad = good;
  bad.nvrtc_path = folder / "none.so";
  bad.cache_dir = "/proc/none";
  bad.dump_dir = "/proc/none";
  bad.record_file = "/proc/none";
  ignore([&] { (void)Runtime(bad).forward({}); });
  bad.nvrtc_path = good.nvrtc_path;
  ignore([&] { (void)Runtime(bad).forward({}); });  // compiled, and can't be kept
  const ScopedVariable flags("NVRTC_APPEND_FLAGS", "-lineinfo");
  {
    const ScopedVariable broken("NVRTC_SHIM_FAIL", "compile");
    ignore([&] { (void)Runtime(good).forward({}); });
  }
  (void)Runtime(good).forward({});
  for (const auto& file : std::filesystem::recursive_directory_iterator(folder / "cache")) {
    if (file.path().extension() == ".kiln") std::filesystem::resize_file(file.path(), file.file_size() / 2);
  }
  const Runtime runtime(good);
  const auto kernel = runtime.forward({});
  ignore([&] { kernel.launch(nullptr, {}); });
  fake.fail("cuLaunchKernelEx", 719, 0, 1);
  ignore([&] { kernel.launch(nullptr, forward_args()); });
  ignore([&] { (void)runtime.forward({.head_dim_qk = 77}); });
  ignore([&] { (void)Options::from_json("{"); });
  const ScopedVariable unknown("KILN_NO_SUCH_SWITCH", "1");
  const ScopedVariable off("KILN_LOG", "off");
  ignore([&] { (void)Options::from_environment(); });
}

TEST_F(EmbeddingTest, NothingIsPrintedButByTheLog) {
  const FakeContext context(fake, 0);
  auto quiet = options();
  quiet.log = {};
  quiet.log_level = LogLevel::off;
  std::uintmax_t silent = 1;
  std::uintmax_t told = 0;
  {
    const CapturedOutput output(folder.path() / "output");
    provoke_errors(quiet, folder.path(), fake);
    silent = output.bytes();
    quiet.log_level = LogLevel::debug;
    quiet.cache_dir = folder.path() / "cache2";
    (void)Runtime(quiet).forward({});
    told = output.bytes();
  }
  EXPECT_EQ(silent, 0U);
  EXPECT_GT(told, 0U) << "the log itself goes to standard error, else this test would prove nothing";
}

}  // namespace
}  // namespace kiln
