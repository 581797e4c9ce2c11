#include "base/fail.hpp"
#include "base/files.hpp"
#include "cli/cache.hpp"
#include "cli/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <regex>
#include <set>
#include <sstream>

namespace kiln::cli {
namespace {

using cache::Entry;

/// One thing in which the two kernels' keys differ.
struct Difference {
  std::string part;
  std::string a;
  std::string b;
};

/// An entry file, or what begins with these digits in the store.
Entry find_entry(const cache::DiskStore& store, const std::string& word) {
  if (std::filesystem::is_regular_file(word)) {
    const std::string text = base::read_file(word, cache::kMaxEntryBytes);
    std::string why;
    auto entry = cache::decode(std::as_bytes(std::span(text)), why);
    if (!entry) base::fail(ErrorCode::invalid_argument, "{} is no cache entry: {}", word, why);
    return std::move(*entry);
  }
  std::vector<Entry> found;
  store.scan([&](const cache::StoredFile& file) {
    if (!file.entry || word.empty()) return;
    if (file.entry->kernel_id.starts_with(word) || file.entry->build_id.starts_with(word)) found.push_back(*file.entry);
  });
  if (found.empty()) {
    base::fail(ErrorCode::invalid_argument, "\"{}\" is neither an entry file nor begins an id in {}", word,
               store.root().string());
  }
  if (found.size() > 1) {
    base::fail(ErrorCode::invalid_argument, "\"{}\" begins the ids of {} entries in {}: builds {:.16} and {:.16}{}",
               word, found.size(), store.root().string(), found[0].build_id, found[1].build_id,
               found.size() > 2 ? " and others" : "");
  }
  return found[0];
}

/// The config's lines by the name of what they define: "inline constexpr int kHeadDim = 128;" or
/// "KILN_DEVICE consteval device::DType dtype() { return device::DType::f16; }".
std::map<std::string, std::string> facts(const std::string& config) {
  static const std::regex constant(R"(.* (\w+)(?: = |\(\) \{ return )([^;]*);.*)");
  std::map<std::string, std::string> by_name;
  std::istringstream lines(config);
  for (std::string line; std::getline(lines, line);) {
    std::smatch parts;
    if (std::regex_match(line, parts, constant)) {
      by_name[parts[1]] = parts[2];
    } else if (!line.empty()) {
      by_name[line] = line;
    }
  }
  return by_name;
}

void compare_configs(const Entry& a, const Entry& b, std::vector<Difference>& differences) {
  const auto of_a = facts(a.config);
  const auto of_b = facts(b.config);
  std::set<std::string> names;
  for (const auto* facts : {&of_a, &of_b}) {
    for (const auto& [name, value] : *facts) names.insert(name);
  }
  const auto value = [](const auto& facts, const std::string& name) {
    const auto found = facts.find(name);
    return found == facts.end() ? std::string("(absent)") : found->second;
  };
  for (const std::string& name : names) {
    if (value(of_a, name) != value(of_b, name)) {
      differences.push_back({name, value(of_a, name), value(of_b, name)});
    }
  }
}

std::vector<Difference> compare(const Entry& a, const Entry& b) {
  std::vector<Difference> differences;
  const auto compare_text = [&](const char* part, const std::string& of_a, const std::string& of_b) {
    if (of_a != of_b) differences.push_back({part, of_a, of_b});
  };
  compare_text("target", a.target, b.target);
  compare_text("entry", a.entry, b.entry);
  compare_configs(a, b, differences);
  if (differences.empty() && a.kernel_id != b.kernel_id) {
    // An entry holds neither, so what remains can only be named.
    differences.push_back({"template source or compile options", a.kernel_id, b.kernel_id});
  }
  compare_text("compiler", a.compiler, b.compiler);
  return differences;
}

base::Json::Object ids(const Entry& entry) {
  return {{"name", entry.name}, {"kernel_id", entry.kernel_id}, {"build_id", entry.build_id}};
}

}  // namespace

ExitCode explain(const Common& common, const cache::DiskStore& store, const CacheArguments& arguments) {
  const Entry a = find_entry(store, arguments.a);
  const Entry b = find_entry(store, arguments.b);
  const auto differences = compare(a, b);
  if (common.json) {
    base::Json::Array rows;
    for (const auto& [part, of_a, of_b] : differences) {
      rows.emplace_back(base::Json::Object{{"part", part}, {"a", of_a}, {"b", of_b}});
    }
    print_json(base::Json::Object{{"a", ids(a)},
                                  {"b", ids(b)},
                                  {"same_kernel", a.kernel_id == b.kernel_id},
                                  {"same_build", a.build_id == b.build_id},
                                  {"differences", std::move(rows)}});
    return ExitCode::ok;
  }
  for (const Entry* entry : {&a, &b}) {
    print(fmt::format("{} {}, kernel {:.16}, build {:.16}\n", entry == &a ? "A" : "B", entry->name, entry->kernel_id,
                      entry->build_id));
  }
  if (differences.empty()) print("the same kernel by the same compiler\n");
  for (const auto& [part, of_a, of_b] : differences) print(fmt::format("{}: {} | {}\n", part, of_a, of_b));
  return ExitCode::ok;
}

}  // namespace kiln::cli
