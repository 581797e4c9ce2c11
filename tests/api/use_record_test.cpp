// What a run records of itself: the kernels it asked for, in a file that `kiln precompile` reads.
#include "api/fake_machine.hpp"
#include "base/files.hpp"
#include "base/json.hpp"
#include "support/expect_error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>
#include <sys/resource.h>
#include <sys/stat.h>
#include <thread>
#include <vector>

namespace kiln {
namespace {

namespace fs = std::filesystem;

using test::error_of;
using test::FakeContext;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kForward =
    R"({"alignment":"bottom_right","architectures":[90],"causal":false,"dtype":"bf16","head_dim_qk":128,)"
    R"("head_dim_v":128,"kind":"forward","window":"none"})";
constexpr const char* kCausal =
    R"({"alignment":"bottom_right","architectures":[90],"causal":true,"dtype":"bf16","head_dim_qk":128,)"
    R"("head_dim_v":128,"kind":"forward","window":"none"})";
constexpr const char* kMerge =
    R"({"architectures":[90],"dtype":"bf16","head_dim_v":128,"kind":"merge","out_dtype":"bf16"})";

/// What a file that cannot grow beyond some bytes is like, until the scope ends.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit now{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &now);
  }
  ~FullDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    static_cast<void>(std::signal(SIGXFSZ, handler_));
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  void (*handler_)(int);
  rlimit before_{};
};

class UseRecordTest : public test::FakeMachine {
 protected:
  const fs::path file = folder.path() / "used.json";

  [[nodiscard]] Options recording() {
    auto out = options();
    out.record_file = file;
    return out;
  }

  [[nodiscard]] std::vector<std::string> recorded() const {
    std::istringstream text(base::read_file(file));
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }
};

TEST_F(UseRecordTest, EachKernelIsALineOfTheFormThatManifestsHave) {
  const FakeContext context(fake, 0);
  const Runtime runtime(recording());
  EXPECT_FALSE(fs::exists(file)) << "nothing was asked for yet";
  (void)runtime.forward({});
  runtime.prepare(std::vector<KernelRequest>{{.kind = KernelKind::forward, .config = {.causal = true}}});
  (void)runtime.merge({});
  EXPECT_THAT(recorded(), ElementsAre(kForward, kCausal, kMerge));
  EXPECT_EQ(base::read_file(file).back(), '\n');
  EXPECT_THAT(log_lines(), IsEmpty());
}

TEST_F(UseRecordTest, AKernelAskedForInOtherWordsIsTheSame) {
  const FakeContext context(fake, 0);
  const Runtime runtime(recording());
  (void)runtime.forward({.window = Window::fixed});  // open on both sides
  (void)runtime.forward({.alignment = Alignment::top_left});
  (void)runtime.forward({.decode_rows = 64});
  (void)runtime.forward({});
  (void)runtime.decode({.causal = true});
  (void)runtime.decode({});
  const auto lines = recorded();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0], kForward);
  EXPECT_THAT(lines[1], HasSubstr(R"("causal":false)"));
}

TEST_F(UseRecordTest, KernelsFromTheDiskAreRecordedAndThoseInMemoryLeaveTheFileAlone) {
  const FakeContext context(fake, 0);
  (void)Runtime(options()).forward({});
  const Runtime runtime(recording());
  EXPECT_EQ(runtime.forward({}).info().origin, Origin::disk);
  EXPECT_THAT(recorded(), ElementsAre(kForward));
  fs::remove(file);
  (void)runtime.forward({});
  EXPECT_FALSE(fs::exists(file));
}

TEST_F(UseRecordTest, KernelsMissingWithJitOffAreRecordedThoseThatCannotBeAreNot) {
  const FakeContext context(fake, 0);
  auto off = recording();
  off.jit = false;
  const Runtime runtime(off);
  for (int i = 0; i < 2; ++i) error_of(ErrorCode::missing_kernel, [&] { (void)runtime.forward({}); });
  error_of(ErrorCode::unsupported, [&] { (void)runtime.forward({.head_dim_qk = 77}); });
  EXPECT_THAT(recorded(), ElementsAre(kForward));
}

TEST_F(UseRecordTest, NamesTheDevicesArchitecture) {
  const FakeDevice older{.name = "An A100",
                         .capability = 80,
                         .sm_count = 108,
                         .smem_per_block = 163 << 10,
                         .smem_per_sm = 164 << 10,
                         .memory_bytes = std::size_t{1} << 30};
  fake.set_device(0, &older);
  const FakeContext context(fake, 0);
  (void)Runtime(recording()).forward({});
  EXPECT_THAT(recorded(), ElementsAre(HasSubstr(R"("architectures":[80],)")));
}

TEST_F(UseRecordTest, RuntimesAndThreadsShareAFileWithoutATornLine) {
  std::vector<KernelRequest> requests;
  for (int dim = 8; dim <= 256; dim += 8) {
    requests.push_back({KernelKind::forward, {.head_dim_qk = dim, .head_dim_v = dim}});
  }
  auto in_memory = recording();
  in_memory.cache_dir = "";
  const Runtime first(in_memory);
  const Runtime second(in_memory);
  std::vector<std::thread> threads;
  for (const Runtime* runtime : {&first, &second, &first, &second}) {
    threads.emplace_back([&fake = fake, runtime, &requests] {
      const FakeContext context(fake, 0);
      for (const auto& request : requests) (void)runtime->forward(request.config);
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<std::int64_t> dims;
  for (const auto& line : recorded()) dims.insert(base::Json::parse(line, "line").at("head_dim_v").as_int(8, 256));
  EXPECT_EQ(dims.size(), requests.size());
  EXPECT_LE(recorded().size(), 2 * requests.size()) << "a race may leave a line of each Runtime";
}

TEST_F(UseRecordTest, ARestartAddsOnlyWhatIsNew) {
  const FakeContext context(fake, 0);
  (void)Runtime(recording()).forward({});
  const auto before = base::read_file(file);
  (void)Runtime(recording()).forward({});
  EXPECT_EQ(base::read_file(file), before);
  const Runtime runtime(recording());
  (void)runtime.forward({.causal = true});
  EXPECT_THAT(recorded(), ElementsAre(kForward, kCausal));
}

TEST_F(UseRecordTest, AFileThatDoesNotEndWithALineEndGetsOne) {
  const FakeContext context(fake, 0);
  const auto torn = std::string(kForward).substr(0, 40);
  folder.write("used.json", std::string(kCausal) + "\n" + torn);
  (void)Runtime(recording()).forward({});
  EXPECT_THAT(recorded(), ElementsAre(kCausal, torn, kForward));
}

TEST_F(UseRecordTest, ALastLineWithoutItsEndCountsAsThere) {
  const FakeContext context(fake, 0);
  folder.write("used.json", kForward);
  (void)Runtime(recording()).forward({});
  EXPECT_EQ(base::read_file(file), kForward);
}

TEST_F(UseRecordTest, APlaceThatCannotBeWrittenIsOneWarning) {
  const FakeContext context(fake, 0);
  const auto pipe = folder.path() / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  for (const auto& place : {folder.path() / "none" / "used.json", folder.path(), pipe, fs::path("/dev/null")}) {
    auto bad = recording();
    bad.record_file = place;
    const std::size_t before = log_lines().size();
    const Runtime runtime(bad);
    (void)runtime.forward({});
    (void)runtime.forward({.causal = true});
    ASSERT_EQ(log_lines().size(), before + 1) << place;
    EXPECT_THAT(log_lines().back(), AllOf(HasSubstr("not recorded"), HasSubstr(place.string() + ": ")));
  }
}

TEST_F(UseRecordTest, AFullDiskIsOneWarningAndTheNextRunMendsTheLine) {
  const FakeContext context(fake, 0);
  auto in_memory = recording();
  in_memory.cache_dir = "";
  folder.write("used.json", std::string(4000, '\n'));
  {
    const Runtime runtime(in_memory);
    const FullDisk full(4010);
    (void)runtime.forward({});
    (void)runtime.forward({.causal = true});
  }
  EXPECT_THAT(log_lines(), ElementsAre(AllOf(HasSubstr(file.string()), HasSubstr("part of a line"))));
  EXPECT_EQ(fs::file_size(file), 4010U);
  (void)Runtime(in_memory).forward({});
  const auto lines = recorded();
  ASSERT_EQ(lines.size(), 4002U);
  EXPECT_EQ(lines[4000], std::string(kForward).substr(0, 10));
  EXPECT_EQ(lines[4001], kForward);
}

TEST_F(UseRecordTest, AnEmptyPathRecordsNothing) {
  const FakeContext context(fake, 0);
  auto off = recording();
  off.record_file = "";
  (void)Runtime(off).forward({});
  EXPECT_THAT(log_lines(), IsEmpty());
}

TEST_F(UseRecordTest, ARelativePathIsMeantWhereTheRuntimeWasMade) {
  const FakeContext context(fake, 0);
  const auto before = fs::current_path();
  auto relative = recording();
  relative.record_file = "used.json";
  fs::current_path(folder.path());
  const Runtime runtime(relative);
  fs::current_path(before);
  (void)runtime.forward({});
  EXPECT_THAT(recorded(), ElementsAre(kForward));
}

TEST_F(UseRecordTest, ALogCallbackMayAskForAKernelItself) {
  const FakeContext context(fake, 0);
  const Runtime* within = nullptr;
  auto bad = recording();
  bad.record_file = folder.path();
  int lines = 0;
  bad.log = [&](LogLevel, std::string_view) {
    ++lines;
    (void)within->forward({.causal = true});
  };
  const Runtime runtime(bad);
  within = &runtime;
  (void)runtime.forward({});
  EXPECT_EQ(lines, 1);
}

}  // namespace
}  // namespace kiln
