#pragma once

#include "cli/terminal.hpp"

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

namespace kiln::cli {

/// "0.4 s", "41 s", "3 min 20 s", "2 h 5 min".
std::string duration_text(double seconds);

/// Says on standard error how far long work is, with the time left. Silent for the first second; then
/// a bar that is redrawn on a terminal, else a line now and then. Not thread-safe.
class Progress {
 public:
  using Clock = std::function<std::chrono::steady_clock::time_point()>;
  using Write = std::function<void(std::string_view)>;

  Progress(std::string label, int total, const Terminal& terminal, Write write = print_error,
           Clock clock = std::chrono::steady_clock::now);
  /// Takes the bar away; what was learnt is printed by whoever asked.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `note` names what was just finished.
  void update(int done, std::string_view note = {});
  /// Writes a line that stays, above the bar.
  void say(std::string_view line);

 private:
  [[nodiscard]] double seconds_left(int done) const;
  void draw(int done, std::string_view note);
  void erase();

  std::string label_;
  int total_;
  bool live_;
  Write write_;
  Clock clock_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point next_draw_;
  bool drawn_ = false;
};

}  // namespace kiln::cli
