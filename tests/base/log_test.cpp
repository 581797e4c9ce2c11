#include "base/log.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace kiln::base {
namespace {

using testing::ElementsAre;
using Line = std::pair<LogLevel, std::string>;

TEST(Logger, PassesLinesOfItsLevelAndAbove) {
  std::vector<Line> lines;
  const Logger log(LogLevel::info, [&](LogLevel level, std::string_view text) { lines.emplace_back(level, text); });
  log.debug("not {}", "this");
  log.info("one {}", 1);
  log.warning("{{two}}");
  log.write(LogLevel::error, "{three}");
  log.write(LogLevel::trace, "nor this");
  log.write(LogLevel::off, "nor this");
  EXPECT_THAT(lines, ElementsAre(Line{LogLevel::info, "one 1"}, Line{LogLevel::warning, "{two}"},
                                 Line{LogLevel::error, "{three}"}));
}

TEST(Logger, OffSaysNothing) {
  int lines = 0;
  const Logger log(LogLevel::off, [&](LogLevel, std::string_view) { ++lines; });
  log.warning("nothing");
  log.write(LogLevel::error, "nothing");
  EXPECT_EQ(lines, 0);
}

TEST(Logger, WithoutACallbackWritesToStandardError) {
  testing::internal::CaptureStderr();
  const Logger log(LogLevel::warning, {});
  log.warning("a slow {}", "disk");
  log.info("unsaid");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "kiln: warning: a slow disk\n");
}

TEST(Logger, LinesReachTheCallbackOneAtATime) {
  std::atomic<int> inside = 0;
  bool overlapped = false;
  int lines = 0;
  const Logger log(LogLevel::info, [&](LogLevel, std::string_view) {
    if (inside.fetch_add(1) != 0) overlapped = true;
    std::this_thread::yield();
    ++lines;
    inside.fetch_sub(1);
  });
  const auto copy = log;  // copies share the callback and its lock
  const auto work = [](const Logger& logger) {
    for (int i = 0; i < 500; ++i) logger.info("line {}", i);
  };
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&, i] { work(i % 2 == 0 ? log : copy); });
  threads.clear();
  EXPECT_FALSE(overlapped);
  EXPECT_EQ(lines, 2000);
}

TEST(Logger, ACallbackThatThrowsOrLogsHarmsNobody) {
  const Logger throws(LogLevel::info, [](LogLevel, std::string_view) { throw std::runtime_error("no"); });
  testing::internal::CaptureStderr();
  EXPECT_NO_THROW(throws.info("x"));
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");

  const Logger* self = nullptr;
  int lines = 0;
  const Logger nested(LogLevel::info, [&](LogLevel, std::string_view) {
    if (++lines == 1) self->info("from within");
  });
  self = &nested;
  nested.info("outer");
  EXPECT_EQ(lines, 2);
}

TEST(Logger, LoggersDoNotDisturbEachOther) {
  std::vector<std::string> first;
  std::vector<std::string> second;
  const Logger a(LogLevel::info, [&](LogLevel, std::string_view text) { first.emplace_back(text); });
  const Logger b(LogLevel::debug, [&](LogLevel, std::string_view text) { second.emplace_back(text); });
  a.debug("x");
  a.info("for a");
  b.debug("for b");
  EXPECT_THAT(first, ElementsAre("for a"));
  EXPECT_THAT(second, ElementsAre("for b"));
}

}  // namespace
}  // namespace kiln::base
