#pragma once

#include <kiln/options.hpp>

#include <fmt/format.h>

#include <memory>
#include <string_view>
#include <utility>

namespace kiln::base {

/// Where a Runtime's messages go. Cheap to copy; lines reach the callback one at a time.
class Logger {
 public:
  /// Without a callback lines go to standard error.
  Logger(LogLevel level, LogCallback callback);

  [[nodiscard]] bool enabled(LogLevel level) const noexcept { return level >= level_; }
  void write(LogLevel level, std::string_view message) const;

  template <class... Args>
  void debug(fmt::format_string<Args...> format, Args&&... args) const {
    format_and_write(LogLevel::debug, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void info(fmt::format_string<Args...> format, Args&&... args) const {
    format_and_write(LogLevel::info, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void warning(fmt::format_string<Args...> format, Args&&... args) const {
    format_and_write(LogLevel::warning, format, std::forward<Args>(args)...);
  }

 private:
  template <class... Args>
  void format_and_write(LogLevel level, fmt::format_string<Args...> format, Args&&... args) const {
    if (enabled(level)) write(level, fmt::format(format, std::forward<Args>(args)...));
  }

  struct Sink;
  LogLevel level_;
  std::shared_ptr<Sink> sink_;
};

}  // namespace kiln::base
