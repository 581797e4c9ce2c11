#include "cli/progress.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace kiln::cli {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kQuietAtFirst{1000};
constexpr milliseconds kBetweenBars{100};
constexpr milliseconds kBetweenLines{5000};

double seconds_between(std::chrono::steady_clock::time_point from, std::chrono::steady_clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

/// Fits a line of 80 columns with the words around it.
std::string bar_text(int done, int total) {
  constexpr int kWidth = 24;
  const int filled = total > 0 ? std::clamp(done * kWidth / total, 0, kWidth) : 0;
  return std::string(static_cast<std::size_t>(filled), '#') +
         std::string(static_cast<std::size_t>(kWidth - filled), '.');
}

}  // namespace

std::string duration_text(double seconds) {
  if (seconds < 9.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<long>(std::lround(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

Progress::Progress(std::string label, int total, const Terminal& terminal, Write write, Clock clock)
    : label_(std::move(label)),
      total_(total),
      live_(terminal.live_bars),
      write_(std::move(write)),
      clock_(std::move(clock)),
      start_(clock_()),
      next_draw_(start_ + kQuietAtFirst) {}

Progress::~Progress() { erase(); }

void Progress::update(int done, std::string_view note) {
  const auto now = clock_();
  if (now < next_draw_) return;
  next_draw_ = now + (live_ ? kBetweenBars : kBetweenLines);
  draw(done, note);
}

void Progress::say(std::string_view line) {
  erase();
  write_(fmt::format("{}\n", line));
}

double Progress::seconds_left(int done) const { return seconds_between(start_, clock_()) / done * (total_ - done); }

void Progress::draw(int done, std::string_view note) {
  const std::string left = done > 0 && done < total_ ? ", " + duration_text(seconds_left(done)) + " left" : "";
  if (live_) {
    constexpr std::size_t kMostNote = 36;
    write_(fmt::format("\r\x1b[K{} [{}] {}/{}{}  {}", label_, bar_text(done, total_), done, total_, left,
                       note.substr(0, kMostNote)));
    drawn_ = true;
  } else {
    write_(fmt::format("{}: {}/{}{}\n", label_, done, total_, left));
  }
}

void Progress::erase() {
  if (drawn_) write_("\r\x1b[K");
  drawn_ = false;
}

}  // namespace kiln::cli
