#include "api/stores.hpp"
#include "base/fail.hpp"
#include "base/parse_bytes.hpp"
#include "cli/cache.hpp"
#include "cli/report.hpp"

#include <fmt/format.h>

#include <charconv>

namespace kiln::cli {

std::chrono::seconds parse_age(std::string_view text) {
  constexpr std::string_view kUnits = "smhd";
  constexpr int kSeconds[] = {1, 60, 3600, 86400};
  constexpr int kMost = 100'000;  // days enough for any cache, and no overflow
  const std::size_t unit = text.empty() ? std::string_view::npos : kUnits.find(text.back());
  int number = 0;
  const char* const end = text.data() + (text.empty() ? 0 : text.size() - 1);
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (unit == std::string_view::npos || error != std::errc{} || stop != end || number < 0 || number > kMost) {
    base::fail(ErrorCode::invalid_argument,
               "--older-than: \"{}\" is not a time such as 90s, 30m, 12h or 7d, at most {}", text, kMost);
  }
  return std::chrono::seconds(std::int64_t{number} * kSeconds[unit]);
}

ExitCode prune(const Common& common, const cache::DiskStore& store, const CacheArguments& arguments) {
  cache::PruneRequest request{.limits = api::store_settings(common.options).limits, .dry_run = arguments.dry_run};
  if (arguments.max_bytes) request.limits.max_bytes = base::parse_bytes(*arguments.max_bytes, "--max-bytes");
  if (arguments.max_files) request.limits.max_files = static_cast<std::uint64_t>(*arguments.max_files);
  if (arguments.older_than) request.unused_for = parse_age(*arguments.older_than);
  const cache::PruneReport report = store.prune(request);
  if (report.busy) base::fail(ErrorCode::io, "{}: another process is removing kernels", store.root().string());
  if (common.json) {
    const auto usage = [](const cache::Usage& of) {
      return base::Json::Object{{"files", of.files}, {"bytes", of.bytes}};
    };
    print_json(base::Json::Object{{"folder", store.root().string()},
                                  {"dry_run", arguments.dry_run},
                                  {"removed", usage(report.removed)},
                                  {"left", usage(report.left)}});
  } else {
    print(fmt::format("{} files, {}, {} {}; {} files, {}, are left\n", report.removed.files,
                      bytes_text(report.removed.bytes), arguments.dry_run ? "would be removed from" : "removed from",
                      store.root().string(), report.left.files, bytes_text(report.left.bytes)));
  }
  return ExitCode::ok;
}

}  // namespace kiln::cli
