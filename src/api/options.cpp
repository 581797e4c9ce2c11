#include "base/fail.hpp"
#include "base/files.hpp"
#include "base/json.hpp"
#include "base/log.hpp"
#include "base/parse_bytes.hpp"
#include "base/printable.hpp"

#include <kiln/options.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <string>
#include <unistd.h>
#include <variant>
#include <vector>

namespace kiln {
namespace {

using Path = std::optional<std::filesystem::path>;
using Member =
    std::variant<int Options::*, std::uint64_t Options::*, bool Options::*, Path Options::*, LogLevel Options::*>;

/// One option as the outside knows it: the README's table has one row for each.
struct Setting {
  std::string_view key;
  std::string_view variable;
  Member member;
  int least = 0;  // of an int
  int most = 0;
  bool several = false;  // a path that may be a list in JSON
};

constexpr int kMostDevices = 1024;
constexpr int kMostJobs = 1024;
constexpr int kMostFiles = 1'000'000'000;
constexpr std::array kSettings = {
    Setting{"device", "KILN_DEVICE", &Options::device, -1, kMostDevices},
    Setting{"cache_dir", "KILN_CACHE_DIR", &Options::cache_dir},
    Setting{"precompiled", "KILN_PRECOMPILED", &Options::precompiled, 0, 0, true},
    Setting{"cache_max_bytes", "KILN_CACHE_MAX_BYTES", &Options::cache_max_bytes},
    Setting{"cache_max_files", "KILN_CACHE_MAX_FILES", &Options::cache_max_files, 0, kMostFiles},
    Setting{"cache_shared", "KILN_CACHE_SHARED", &Options::cache_shared},
    Setting{"jit", "KILN_JIT", &Options::jit},
    Setting{"compile_jobs", "KILN_COMPILE_JOBS", &Options::compile_jobs, 0, kMostJobs},
    Setting{"overlap_launches", "KILN_OVERLAP_LAUNCHES", &Options::overlap_launches},
    Setting{"nvrtc_path", "KILN_NVRTC_PATH", &Options::nvrtc_path},
    Setting{"cuda_path", "KILN_CUDA_PATH", &Options::cuda_path},
    Setting{"tuned_dir", "KILN_TUNED_DIR", &Options::tuned_dir},
    Setting{"template_dir", "KILN_TEMPLATE_DIR", &Options::template_dir},
    Setting{"dump_dir", "KILN_DUMP", &Options::dump_dir},
    Setting{"record_file", "KILN_RECORD", &Options::record_file},
    Setting{"check_workspaces", "KILN_CHECK_WORKSPACES", &Options::check_workspaces},
    Setting{"log_level", "KILN_LOG", &Options::log_level},
};

constexpr std::array<std::string_view, 6> kLevels = {"trace", "debug", "info", "warning", "error", "off"};

LogLevel parse_level(std::string_view text, std::string_view where) {
  const auto* found = std::ranges::find(kLevels, text);
  if (found == kLevels.end()) {
    base::fail(ErrorCode::invalid_argument, "{}: \"{}\" is not one of {}", where, base::printable(text),
               fmt::join(kLevels, ", "));
  }
  return static_cast<LogLevel>(found - kLevels.begin());
}

bool parse_flag(std::string_view text, std::string_view where) {
  if (text == "on" || text == "1" || text == "true") return true;
  if (text == "off" || text == "0" || text == "false") return false;
  base::fail(ErrorCode::invalid_argument, "{}: \"{}\" is neither on nor off", where, base::printable(text));
}

int parse_int(std::string_view text, const Setting& setting, std::string_view where) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < setting.least || value > setting.most) {
    base::fail(ErrorCode::invalid_argument, "{}: \"{}\" is not a whole number from {} to {}", where,
               base::printable(text), setting.least, setting.most);
  }
  return value;
}

/// `where`: what the text was given as, for messages.
std::filesystem::path parse_path(std::string_view text, std::string_view where) {
  if (text.find('\0') != std::string_view::npos) {  // the system would take what stands before it for the path
    base::fail(ErrorCode::invalid_argument, "{}: a path can't hold a NUL character", where);
  }
  return text;
}

void set_from_text(Options& options, const Setting& setting, std::string_view text, std::string_view where) {
  if (const auto* number = std::get_if<int Options::*>(&setting.member)) {
    options.** number = parse_int(text, setting, where);
  } else if (const auto* size = std::get_if<std::uint64_t Options::*>(&setting.member)) {
    options.** size = base::parse_bytes(text, where);
  } else if (const auto* flag = std::get_if<bool Options::*>(&setting.member)) {
    options.** flag = parse_flag(text, where);
  } else if (const auto* path = std::get_if<Path Options::*>(&setting.member)) {
    options.** path = parse_path(text, where);
  } else if (const auto* level = std::get_if<LogLevel Options::*>(&setting.member)) {
    options.** level = parse_level(text, where);
  }
}

/// A list as the one string that the environment would give.
std::filesystem::path join_folders(const base::Json& list) {
  std::string joined;
  for (const base::Json& folder : list.as_array()) {
    joined.append(joined.empty() ? "" : ":").append(parse_path(folder.as_string(), folder.where()).string());
  }
  return joined;
}

void set_from_json(Options& options, const Setting& setting, const base::Json& json) {
  if (const auto* number = std::get_if<int Options::*>(&setting.member)) {
    options.** number = static_cast<int>(json.as_int(setting.least, setting.most));
  } else if (const auto* size = std::get_if<std::uint64_t Options::*>(&setting.member)) {
    options.** size = json.is_string()
                          ? base::parse_bytes(json.as_string(), json.where())
                          : static_cast<std::uint64_t>(json.as_int(0, std::numeric_limits<std::int64_t>::max()));
  } else if (const auto* flag = std::get_if<bool Options::*>(&setting.member)) {
    options.** flag = json.as_bool();
  } else if (const auto* path = std::get_if<Path Options::*>(&setting.member)) {
    options.** path =
        json.is_array() && setting.several ? join_folders(json) : parse_path(json.as_string(), json.where());
  } else if (const auto* level = std::get_if<LogLevel Options::*>(&setting.member)) {
    options.** level = parse_level(json.as_string(), json.where());
  }
}

std::vector<std::string_view> names_of(std::string_view Setting::* name) {
  std::vector<std::string_view> names;
  for (const auto& setting : kSettings) names.push_back(setting.*name);
  return names;
}

/// KILN_* names in the environment that no setting has.
std::vector<std::string> unknown_variables() {
  constexpr std::string_view kPrefix = "KILN_";
  const auto known = names_of(&Setting::variable);
  std::vector<std::string> unknown;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    std::string_view name(*entry);
    name = name.substr(0, name.find('='));
    if (name.starts_with(kPrefix) && std::ranges::find(known, name) == known.end()) unknown.emplace_back(name);
  }
  return unknown;
}

}  // namespace

Options Options::from_environment() {
  Options options;
  options.apply_environment();
  return options;
}

void Options::apply_environment() {
  for (const auto& setting : kSettings) {
    if (const char* text = std::getenv(setting.variable.data())) set_from_text(*this, setting, text, setting.variable);
  }
  const auto known = names_of(&Setting::variable);
  const base::Logger logger(log_level, log);
  for (const auto& name : unknown_variables()) {
    const auto nearest = base::nearest_name(name, known);
    logger.warning("{} is not a variable Kiln knows{}", name,
                   nearest.empty() ? "" : fmt::format("; did you mean {}?", nearest));
  }
}

void Options::set(std::string_view key, std::string_view text) {
  const auto* found = std::ranges::find(kSettings, key, &Setting::key);
  if (found != kSettings.end()) return set_from_text(*this, *found, text, key);
  const auto known = names_of(&Setting::key);
  const auto nearest = base::nearest_name(key, known);
  base::fail(ErrorCode::invalid_argument, "the option '{}' is not known: {}", base::printable(key),
             nearest.empty() ? fmt::format("known are {}", fmt::join(known, ", "))
                             : fmt::format("did you mean '{}'?", nearest));
}

Options Options::from_json(std::string_view text, std::string_view origin) {
  const auto json = base::Json::parse(text, origin);
  json.allow_keys(names_of(&Setting::key));
  Options options;
  for (const auto& setting : kSettings) {
    if (const auto* value = json.find(setting.key)) set_from_json(options, setting, *value);
  }
  return options;
}

Options Options::from_file(const std::filesystem::path& path) {
  return from_json(base::read_file(path), path.string());
}

}  // namespace kiln
