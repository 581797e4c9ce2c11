#include "base/log.hpp"

#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <mutex>

namespace kiln::base {
namespace {

/// Hands lines to the user's callback. The lock is recursive so that a callback that makes Kiln log
/// again, from the same thread, does not stand still for ever.
class CallbackSink final : public spdlog::sinks::base_sink<std::recursive_mutex> {
 public:
  explicit CallbackSink(LogCallback callback) : callback_(std::move(callback)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& line) override {
    try {
      callback_(static_cast<LogLevel>(line.level), {line.payload.data(), line.payload.size()});
    } catch (...) {  // NOLINT(bugprone-empty-catch): a failing log must not fail the work it reports on
    }
  }
  void flush_() override {}

  LogCallback callback_;
};

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::trace:
      return spdlog::level::trace;
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
    case LogLevel::off:
      break;
  }
  return spdlog::level::off;
}

// CallbackSink turns levels back by their number.
static_assert(static_cast<int>(spdlog::level::warn) == static_cast<int>(LogLevel::warning));
static_assert(static_cast<int>(spdlog::level::err) == static_cast<int>(LogLevel::error));

}  // namespace

struct Logger::Sink {
  explicit Sink(spdlog::sink_ptr sink) : logger("kiln", std::move(sink)) {
    logger.set_level(spdlog::level::trace);  // Logger itself holds the level
    logger.set_pattern("kiln: %l: %v");
    logger.set_error_handler([](const std::string&) {});
  }
  spdlog::logger logger;  // not in spdlog's registry: several runtimes live side by side
};

Logger::Logger(LogLevel level, LogCallback callback) : level_(level) {
  if (callback) {
    sink_ = std::make_shared<Sink>(std::make_shared<CallbackSink>(std::move(callback)));
  } else {
    sink_ = std::make_shared<Sink>(std::make_shared<spdlog::sinks::stderr_sink_mt>());
  }
}

void Logger::write(LogLevel level, std::string_view message) const {
  if (level == LogLevel::off || !enabled(level)) return;
  sink_->logger.log(to_spdlog(level), spdlog::string_view_t(message.data(), message.size()));
}

}  // namespace kiln::base
