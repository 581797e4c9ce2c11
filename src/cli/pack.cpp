#include "api/stores.hpp"
#include "base/fail.hpp"
#include "cache/pack_store.hpp"
#include "cli/commands.hpp"
#include "cli/packing.hpp"
#include "cli/report.hpp"
#include "cli/stored_files.hpp"

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

namespace kiln::cli {
namespace {

namespace fs = std::filesystem;

cache::PackStore pack_at(const Common& common, const fs::path& path) {
  return {path, common.options.cache_shared ? cache::Trust::shared : cache::Trust::named,
          base::Logger(LogLevel::off, {})};  // refusals are errors here
}

void add_pack(const Common& common, const fs::path& path, PackContent& kernels) {
  const cache::PackStore store = pack_at(common, path);
  const cache::Pack* const pack = store.pack();
  if (pack == nullptr) base::fail(ErrorCode::io, "{}", store.refusal());
  for (std::size_t i = 0; i < pack->size(); ++i) kernels.add(pack->at(i));
}

void add_folder(const Common& common, const fs::path& path, PackContent& kernels) {
  const cache::DiskStore store(path, cache::DiskStore::Access::read_only, logger_of(common),
                               api::store_settings(common.options));
  if (const std::string refusal = store.refusal(); !refusal.empty()) base::fail(ErrorCode::io, "{}", refusal);
  std::vector<std::pair<std::string, std::string>> ids;
  store.scan([&](const cache::StoredFile& file) {
    if (!file.entry) base::fail(ErrorCode::io, "{}: {}", file.path.string(), file.damage);
    ids.emplace_back(file.entry->kernel_id, file.entry->build_id);
  });
  for (const auto& [kernel_id, build_id] : ids) {
    auto entry = store.find_build(kernel_id, build_id);
    if (!entry) base::fail(ErrorCode::io, "{}: kernel {} is gone since it was listed", path.string(), kernel_id);
    kernels.add(std::move(*entry));
  }
}

ExitCode merge(const Common& common, const PackArguments& arguments) {
  if (!names_pack(arguments.output)) {
    base::fail(ErrorCode::invalid_argument, "--output is \"{}\": a pack's name ends with {}", arguments.output.string(),
               kPackSuffix);
  }
  PackContent kernels;
  for (const fs::path& source : arguments.packs) {
    if (fs::is_directory(source)) {
      add_folder(common, source, kernels);
    } else {
      add_pack(common, source, kernels);
    }
  }
  if (kernels.size() == 0) base::fail(ErrorCode::invalid_argument, "there is no kernel in what was given");
  const std::uint64_t bytes = kernels.write(arguments.output);
  if (common.json) {
    print_json(base::Json::Object{{"pack", arguments.output.string()},
                                  {"kernels", kernels.size()},
                                  {"bytes", bytes},
                                  {"left_out", kernels.left_out()}});
    return ExitCode::ok;
  }
  print(fmt::format("{} kernels in {} ({})\n", kernels.size(), arguments.output.string(), bytes_text(bytes)));
  if (kernels.left_out() > 0) print(fmt::format("{} more were there twice: the first was taken\n", kernels.left_out()));
  return ExitCode::ok;
}

/// The kernels of packs, as the cache's files are shown; a pack that can't be used is a damaged file.
std::vector<cache::StoredFile> kernels_of(const Common& common, const std::vector<fs::path>& packs) {
  std::vector<cache::StoredFile> files;
  for (const fs::path& path : packs) {
    const cache::PackStore store = pack_at(common, path);
    const cache::Pack* const pack = store.pack();
    if (pack == nullptr) files.push_back({.path = path, .bytes = 0, .entry = {}, .damage = store.refusal()});
    for (std::size_t i = 0; pack != nullptr && i < pack->size(); ++i) {
      files.push_back({.path = path, .bytes = pack->bytes_at(i), .entry = pack->at(i), .damage = {}});
    }
  }
  return files;
}

}  // namespace

ExitCode pack(const Common& common, const PackArguments& arguments) {
  using enum PackArguments::Action;
  switch (arguments.action) {
    case merge:
      return cli::merge(common, arguments);
    case verify:
      return cli::verify(common, kernels_of(common, arguments.packs), "kernels");
    case ls:
      break;
  }
  cli::list(common, kernels_of(common, arguments.packs));
  return ExitCode::ok;
}

}  // namespace kiln::cli
