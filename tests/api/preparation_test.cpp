// prepare() in the background, and what cancelling it does to whom.
#include "api/fake_machine.hpp"
#include "support/expect_error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <optional>
#include <thread>

namespace kiln {
namespace {

using namespace std::chrono_literals;
using test::error_of;
using test::FakeContext;
using test::ScopedVariable;
using testing::HasSubstr;

constexpr const char* kLong = "20000";  // ms of a compile that only a cancel can end in a test's time
constexpr auto kSoon = 5s;              // on a busy machine; a compile that is not cancelled takes four times as long

class PreparationTest : public test::FakeMachine {
 protected:
  [[nodiscard]] Options on_device_0() {
    auto out = options();
    out.device = 0;
    out.compile_jobs = 2;
    return out;
  }
  void wait_for_compiles(int count) const {
    while (compiles() < count) std::this_thread::sleep_for(1ms);
  }

  const std::vector<KernelRequest> requests_ = {{.kind = KernelKind::forward, .config = {}},
                                                {.kind = KernelKind::forward, .config = {.causal = true}},
                                                {.kind = KernelKind::decode, .config = {}},
                                                {.kind = KernelKind::forward, .config = {}}};
};

TEST_F(PreparationTest, MakesAllReadyAndReportsFromOneThreadOfItsOwn) {
  const Runtime runtime(on_device_0());
  std::vector<int> done;
  std::optional<std::thread::id> reporter;
  const auto preparation = runtime.prepare_async(requests_, [&](const Progress& at) {
    EXPECT_EQ(at.total, 3);
    EXPECT_EQ(reporter.value_or(std::this_thread::get_id()), std::this_thread::get_id());
    reporter = std::this_thread::get_id();
    done.push_back(at.done);
  });
  preparation.wait();
  EXPECT_TRUE(preparation.done());
  EXPECT_NE(reporter, std::this_thread::get_id());
  EXPECT_TRUE(std::ranges::is_sorted(done));
  EXPECT_EQ(done.back(), 3);
  preparation.cancel();  // too late to change anything
  preparation.wait();
  EXPECT_EQ(runtime.stats().compiles, 3U);
  const FakeContext context(fake, 0);
  runtime.forward({.causal = true}).launch(nullptr, test::forward_args());
  EXPECT_EQ(compiles(), 3);
}

TEST_F(PreparationTest, CancelEndsRunningCompilesAndDropsTheRest) {
  const ScopedVariable slow("NVRTC_SHIM_DELAY_MS", kLong);
  const Runtime runtime(on_device_0());
  const auto preparation = runtime.prepare_async(requests_);
  wait_for_compiles(2);
  EXPECT_FALSE(preparation.done());
  const auto start = std::chrono::steady_clock::now();
  preparation.cancel();
  EXPECT_THAT(error_of(ErrorCode::cancelled, [&] { preparation.wait(); }), HasSubstr("0 of 3"));
  EXPECT_THAT(error_of(ErrorCode::cancelled, [&] { preparation.wait(); }), HasSubstr("0 of 3")) << "asked again";
  EXPECT_LT(std::chrono::steady_clock::now() - start, kSoon);
  EXPECT_TRUE(preparation.done());
  EXPECT_EQ(compiles(), 2) << "the third was never begun";
  EXPECT_EQ(runtime.stats().compiles, 0U);
}

TEST_F(PreparationTest, DestroyingItCancelsAndWaits) {
  const ScopedVariable slow("NVRTC_SHIM_DELAY_MS", kLong);
  const auto start = std::chrono::steady_clock::now();
  {
    std::optional<Runtime> runtime(on_device_0());
    auto preparation = runtime->prepare_async(requests_);
    runtime.reset();  // what it needs, it keeps
    wait_for_compiles(1);
    const auto moved = std::move(preparation);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, kSoon);
  EXPECT_EQ(fake.live_libraries(), 0);
}

TEST_F(PreparationTest, AnotherThatWaitsForTheSameKernelIsNotCancelled) {
  std::optional<ScopedVariable> slow(std::in_place, "NVRTC_SHIM_DELAY_MS", kLong);
  const Runtime runtime(on_device_0());
  const std::vector<KernelRequest> one(requests_.begin(), requests_.begin() + 1);
  const auto preparation = runtime.prepare_async(one);
  wait_for_compiles(1);
  slow.emplace("NVRTC_SHIM_DELAY_MS", "0");  // the compile under way has read it already
  auto waiting = std::async(std::launch::async, [&] { return runtime.forward({}).info().origin; });
  const auto other = runtime.prepare_async(one);  // waits as well
  std::this_thread::sleep_for(20ms);
  preparation.cancel();
  EXPECT_EQ(waiting.get(), Origin::compiled);
  other.wait();
  error_of(ErrorCode::cancelled, [&] { preparation.wait(); });
  EXPECT_EQ(runtime.stats().compiles, 1U);
  EXPECT_EQ(compiles(), 2);
}

TEST_F(PreparationTest, OneThatWaitsForAnothersBuildIsCancelledAlone) {
  std::optional<ScopedVariable> slow(std::in_place, "NVRTC_SHIM_DELAY_MS", "300");
  const Runtime runtime(on_device_0());
  auto building = std::async(std::launch::async, [&] { return runtime.forward({}).info().origin; });
  wait_for_compiles(1);
  const auto preparation = runtime.prepare_async(std::vector<KernelRequest>(1));
  std::this_thread::sleep_for(20ms);
  preparation.cancel();
  error_of(ErrorCode::cancelled, [&] { preparation.wait(); });
  EXPECT_EQ(building.get(), Origin::compiled);
  EXPECT_EQ(compiles(), 1);
}

TEST_F(PreparationTest, AnNvrtcThatCantBeStoppedEndsItsCompileFirst) {
  const ScopedVariable slow("NVRTC_SHIM_DELAY_MS", "100");
  const ScopedVariable deaf("NVRTC_SHIM_FAIL", "flow");
  const Runtime runtime(on_device_0());
  const auto preparation = runtime.prepare_async(requests_);
  wait_for_compiles(2);
  preparation.cancel();
  EXPECT_THAT(error_of(ErrorCode::cancelled, [&] { preparation.wait(); }), HasSubstr("2 of 3"));
  EXPECT_EQ(runtime.stats().compiles, 2U) << "and what was made is kept";
}

TEST_F(PreparationTest, AFailureIsThrownByWaitAndStopsNoOther) {
  auto none = on_device_0();
  none.nvrtc_path = folder.path() / "libnvrtc.so.13";
  const Runtime runtime(none);
  int last = 0;
  const auto preparation = runtime.prepare_async(requests_, [&](const Progress& at) { last = at.done; });
  EXPECT_THAT(error_of(ErrorCode::compile, [&] { preparation.wait(); }), HasSubstr("NVRTC"));
  EXPECT_EQ(last, 3);
}

TEST_F(PreparationTest, TheCallbackMayCancelAndThrowButNotWait) {
  const Runtime runtime(on_device_0());
  std::promise<const Preparation*> itself;
  std::string words;
  const auto preparation = runtime.prepare_async(requests_, [&, self = itself.get_future().share()](const Progress&) {
    words = error_of(ErrorCode::unsupported, [&] { self.get()->wait(); });
    self.get()->cancel();
    throw std::runtime_error("the callback's own");
  });
  itself.set_value(&preparation);
  EXPECT_THROW(preparation.wait(), std::runtime_error);
  EXPECT_THAT(words, HasSubstr("callback"));
}

TEST_F(PreparationTest, TheCallbackMayDestroyIt) {
  const Runtime runtime(on_device_0());
  std::promise<void> set;
  std::promise<void> destroyed;
  std::optional<Preparation> preparation;
  preparation.emplace(
      runtime.prepare_async(std::vector<KernelRequest>(1), [&, ready = set.get_future().share()](const Progress&) {
        ready.wait();
        preparation.reset();
        destroyed.set_value();
      }));
  set.set_value();
  destroyed.get_future().wait();
  EXPECT_FALSE(preparation);
}

TEST_F(PreparationTest, NothingToPrepareIsDone) {
  const Runtime runtime(on_device_0());
  const auto preparation = runtime.prepare_async({});
  preparation.wait();
  EXPECT_TRUE(preparation.done());
}

TEST_F(PreparationTest, TheHeaviestKernelsAreBegunFirst) {
  auto one_at_a_time = on_device_0();
  one_at_a_time.compile_jobs = 1;
  const Runtime runtime(one_at_a_time);
  runtime.prepare(
      std::vector<KernelRequest>{{.kind = KernelKind::decode, .config = {.head_dim_qk = 64, .head_dim_v = 64}},
                                 {.kind = KernelKind::forward, .config = {.head_dim_qk = 64, .head_dim_v = 64}},
                                 {.kind = KernelKind::forward, .config = {.causal = true}}});
  std::ifstream file(folder.path() / "compiles");
  std::vector<std::string> names;
  for (std::string pid, name; file >> pid >> name;) names.push_back(name);
  EXPECT_THAT(names, testing::ElementsAre(HasSubstr("forward_bf16_d128_causal"), HasSubstr("forward_bf16_d64"),
                                          HasSubstr("decode_bf16_d64")));
}

}  // namespace
}  // namespace kiln
