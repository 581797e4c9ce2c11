#include "base/fail.hpp"
#include "host/figure.hpp"
#include "host/requests.hpp"
#include "host/timing.hpp"

#include <array>
#include <cstdio>
#include <memory>
#include <numeric>

namespace kiln::bench {
namespace {

/// This program run again with arguments; its one JSON line.
class Child {
 public:
  Child(const Setup& setup, const std::string& arguments)
      : command_(fmt::format("'{}' --child {}", setup.self.string(), arguments)),
        pipe_(popen(command_.c_str(), "r")) {  // NOLINT(bugprone-command-processor): this program's own path
    if (pipe_ == nullptr) base::fail(ErrorCode::io, "can't start {}", command_);
  }
  ~Child() {
    if (pipe_ != nullptr) pclose(pipe_);
  }
  Child(Child&& other) noexcept : command_(std::move(other.command_)), pipe_(std::exchange(other.pipe_, nullptr)) {}
  Child& operator=(Child&&) = delete;

  [[nodiscard]] base::Json result() {
    std::string text;
    std::array<char, 4096> buffer{};
    while (std::fgets(buffer.data(), buffer.size(), pipe_) != nullptr) text += buffer.data();
    const int status = pclose(std::exchange(pipe_, nullptr));
    if (status != 0) base::fail(ErrorCode::io, "{} ended with status {}", command_, status);
    return base::Json::parse(text, command_);
  }

 private:
  std::string command_;
  FILE* pipe_;
};

Figure nvrtc_start(const Setup& setup) {
  std::vector<double> times;
  for (int i = 0; i < 5; ++i)
    times.push_back(Child(setup, fmt::format("nvrtc {}", setup.capability)).result().at("ms").as_double());
  return {.what = "NVRTC start, load and first (empty) compile, new process",
          .value = median(times),
          .unit = "ms",
          .at_most = 100};
}

Figure cold_race(const Setup& setup) {
  constexpr int kProcesses = 8;
  const auto folder = setup.scratch / "race";
  std::vector<Child> children;
  const auto start = Clock::now();
  for (int i = 0; i < kProcesses; ++i)
    children.emplace_back(setup, fmt::format("race {} '{}'", setup.capability, folder.string()));
  std::int64_t compiles = 0;
  for (Child& child : children) compiles += child.result().at("compiles").as_int(0, 1000);
  const auto keys = static_cast<std::int64_t>(usual_requests().size());
  return {.what = fmt::format("compiles by {} cold processes that all want {} keys", kProcesses, keys),
          .value = static_cast<double>(compiles),
          .unit = "compiles",
          .at_most = static_cast<double>(keys),
          .at_least = static_cast<double>(keys),
          .detail = {{"wall_ms", milliseconds_since(start)}}};
}

/// The middle one of three new processes by the time that Kiln took.
Figure first_result(const Setup& setup) {
  std::vector<base::Json> results;
  for (int i = 0; i < 3; ++i) {
    const auto folder = setup.scratch / fmt::format("first{}", i);
    results.push_back(Child(setup, fmt::format("first '{}'", folder.string())).result());
  }
  std::ranges::sort(results, {}, [](const base::Json& json) { return json.at("kiln_ms").as_double(); });
  const base::Json& middle = results[1];
  return {.what = "empty cache to first right result, new process",
          .value = middle.at("kiln_ms").as_double(),
          .unit = "ms",
          .at_most = 1500,
          .detail = {{"driver_start_ms", middle.at("driver_ms").as_double()},
                     {"compile_ms", middle.at("compile_ms").as_double()},
                     {"right", middle.at("right").as_bool()}}};
}

}  // namespace

Figures process_figures(const Setup& setup) {
  Figures figures = {nvrtc_start(setup), cold_race(setup)};
  if (setup.gpu) figures.push_back(first_result(setup));
  return figures;
}

}  // namespace kiln::bench
