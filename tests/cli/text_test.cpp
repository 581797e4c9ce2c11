#include "cli/progress.hpp"
#include "cli/report.hpp"
#include "cli/terminal.hpp"
#include "cli/text_table.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

namespace kiln::cli {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST(TextTable, AlignsColumnsAndLeavesNoTrailingBlanks) {
  TextTable table({{"name", TextTable::Align::left}, {"n", TextTable::Align::right}, {"note", TextTable::Align::left}});
  table.add({"a", "1", "x"});
  table.add({"longer", "1234"});
  table.add({"µm", "", "y"});
  EXPECT_EQ(table.str({}),
            "name       n  note\n"
            "a          1  x\n"
            "longer  1234\n"
            "µm            y\n");
}

TEST(TextTable, ColourDoesNotMoveColumns) {
  TextTable table({{"a", TextTable::Align::left}, {"b", TextTable::Align::left}});
  table.add({{"x", Tone::bad}, "y"});
  EXPECT_THAT(table.str({.colour = true}), HasSubstr("\x1b[31mx\x1b[0m  y\n"));
  EXPECT_THAT(table.str({.colour = false}), Not(HasSubstr("\x1b")));
}

TEST(Wrap, BreaksAtBlanksOnly) {
  EXPECT_THAT(wrap("one two three", 7), ElementsAre("one two", "three"));
  EXPECT_THAT(wrap("a-very-long-word b", 4), ElementsAre("a-very-long-word", "b"));
  EXPECT_THAT(wrap("", 4), ElementsAre(""));
}

TEST(Duration, ReadsWell) {
  EXPECT_EQ(duration_text(0.42), "0.4 s");
  EXPECT_EQ(duration_text(9.96), "10 s");
  EXPECT_EQ(duration_text(200), "3 min 20 s");
  EXPECT_EQ(duration_text(7500), "2 h 5 min");
}

TEST(Bytes, ReadWell) {
  EXPECT_EQ(bytes_text(513), "513 B");
  EXPECT_EQ(bytes_text(74'200), "74.2 KB");
  EXPECT_EQ(bytes_text(1'300'000), "1.3 MB");
  EXPECT_EQ(bytes_text(2'000'000'000), "2.0 GB");
}

/// A progress display with a clock that the test moves.
class ProgressTest : public testing::Test {
 protected:
  Progress make(int total, bool live) {
    return {"compiling",
            total,
            {.colour = false, .live_bars = live},
            [this](std::string_view text) { written.emplace_back(text); },
            [this] { return now; }};
  }
  std::chrono::steady_clock::time_point now;
  std::vector<std::string> written;
};

TEST_F(ProgressTest, ShortWorkIsSilent) {
  {
    Progress progress = make(3, true);
    now += milliseconds(900);
    progress.update(3);
  }
  EXPECT_THAT(written, IsEmpty());
}

TEST_F(ProgressTest, LinesSayHowFarAndHowLong) {
  Progress progress = make(10, false);
  now += milliseconds(2000);
  progress.update(1);
  now += milliseconds(1000);
  progress.update(2);  // too soon after the line before
  now += milliseconds(5000);
  progress.update(4);
  EXPECT_THAT(written, ElementsAre("compiling: 1/10, 18 s left\n", "compiling: 4/10, 12 s left\n"));
}

TEST_F(ProgressTest, BarIsRedrawnAndTakenAway) {
  {
    Progress progress = make(4, true);
    now += milliseconds(1500);
    progress.update(2, "some_kernel");
    now += milliseconds(50);
    progress.update(3);  // faster than anyone reads
  }
  ASSERT_EQ(written.size(), 2U);
  EXPECT_THAT(written[0], testing::StartsWith("\r"));
  EXPECT_THAT(written[0], HasSubstr("[############............] 2/4, 1.5 s left  some_kernel"));
  EXPECT_EQ(written[1], "\r\x1b[K");
}

}  // namespace
}  // namespace kiln::cli
