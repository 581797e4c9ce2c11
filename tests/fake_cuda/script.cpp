#include "fake_cuda/state.hpp"

#include <charconv>
#include <cstdio>
#include <cstdlib>

namespace fake_cuda {
namespace {

[[noreturn]] void refuse(std::string_view item) {
  std::fprintf(stderr, "fake libcuda: FAKE_CUDA has a bad item \"%.*s\"\n", static_cast<int>(item.size()), item.data());
  std::abort();
}

template <class T>
T number(std::string_view text, std::string_view item) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) refuse(item);
  return value;
}

/// Cuts the text before the first separator off and returns it.
std::string_view take(std::string_view& text, char separator) {
  const std::size_t end = text.find(separator);
  const std::string_view taken = text.substr(0, end);
  text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  return taken;
}

/// <function>:<result>[:<after calls>[:<times>]]
void add_failure(State& all, std::string_view value, std::string_view item) {
  Script& script = all.script(take(value, ':'));
  Failure failure{.times = -1};
  failure.result = static_cast<CUresult>(number<int>(take(value, ':'), item));
  if (!value.empty()) failure.after_calls = number<int>(take(value, ':'), item);
  if (!value.empty()) failure.times = number<int>(value, item);
  script.failures.push_back(failure);
}

}  // namespace

void apply_script(State& all, std::string_view text) {
  int count = 2;
  int capability = 90;
  std::optional<int> sms;
  std::optional<std::size_t> memory;
  while (!text.empty()) {
    const std::string_view item = take(text, ',');
    std::string_view value = item;
    const std::string_view key = take(value, '=');
    if (key == "devices") {
      count = number<int>(value, item);
    } else if (key == "capability") {
      capability = number<int>(value, item);
    } else if (key == "sms") {
      sms = number<int>(value, item);
    } else if (key == "memory") {
      memory = number<std::size_t>(value, item);
    } else if (key == "version") {
      all.version = number<int>(value, item);
    } else if (key == "launch_ms") {
      all.launch_ms = std::strtod(std::string(value).c_str(), nullptr);
    } else if (key == "fail") {
      add_failure(all, value, item);
    } else if (key == "log") {
      all.log = value;
    } else {
      refuse(item);
    }
  }
  all.set_devices(count, capability);
  for (FakeDevice& device : all.devices) {
    if (sms) device.sm_count = *sms;
    if (memory) device.memory_bytes = *memory;
  }
}

}  // namespace fake_cuda
