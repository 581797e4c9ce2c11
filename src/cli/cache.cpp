#include "cli/cache.hpp"

#include "api/cache_folder.hpp"
#include "api/stores.hpp"
#include "base/fail.hpp"
#include "cli/commands.hpp"
#include "cli/report.hpp"
#include "cli/stored_files.hpp"

#include <fmt/format.h>

#include <map>

namespace kiln::cli {
namespace {

using cache::StoredFile;

std::filesystem::path folder_of(const Common& common, const CacheArguments& arguments) {
  if (arguments.folder) return *arguments.folder;
  const auto folder = api::cache_folder(common.options, logger_of(common));
  if (folder.empty()) base::fail(ErrorCode::invalid_argument, "there is no cache folder: set KILN_CACHE_DIR or HOME");
  return folder;
}

std::vector<StoredFile> scan(const cache::DiskStore& store) {
  std::vector<StoredFile> files;
  store.scan([&](const StoredFile& file) { files.push_back(file); });
  return files;
}

void summarize(const Common& common, const std::filesystem::path& folder, const std::vector<StoredFile>& files) {
  struct Sum {
    int kernels = 0;
    std::uint64_t bytes = 0;
  };
  std::map<std::string, Sum> by_target;
  Sum all;
  double compile_ms = 0;
  for (const StoredFile& file : files) {
    if (file.entry) compile_ms += file.entry->compile_ms;
    Sum& sum = by_target[file.entry ? file.entry->target : "damaged"];
    for (Sum* each : {&sum, &all}) {
      ++each->kernels;
      each->bytes += file.bytes;
    }
  }
  if (common.json) {
    base::Json::Object targets;
    for (const auto& [target, sum] : by_target) {
      targets[target] = base::Json::Object{{"files", sum.kernels}, {"bytes", sum.bytes}};
    }
    print_json(base::Json::Object{{"folder", folder.string()},
                                  {"files", all.kernels},
                                  {"bytes", all.bytes},
                                  {"compile_ms", compile_ms},
                                  {"max_files", common.options.cache_max_files},
                                  {"max_bytes", common.options.cache_max_bytes},
                                  {"targets", std::move(targets)}});
    return;
  }
  print(fmt::format("{}: {} files, {}, {:.1f} s of compiling\n", folder.string(), all.kernels, bytes_text(all.bytes),
                    compile_ms / 1e3));
  const auto limit = [](std::uint64_t most, const std::string& text) { return most == 0 ? "any" : text; };
  const auto most_files = static_cast<std::uint64_t>(common.options.cache_max_files);
  print(fmt::format("  at most {} files and {} are kept\n", limit(most_files, fmt::to_string(most_files)),
                    limit(common.options.cache_max_bytes, bytes_text(common.options.cache_max_bytes))));
  for (const auto& [target, sum] : by_target) {
    print(fmt::format("  {:<8} {:>5} files  {:>9}\n", target, sum.kernels, bytes_text(sum.bytes)));
  }
}

void remove_all(const Common& common, const cache::DiskStore& store) {
  const std::size_t removed = store.clear();
  if (common.json) {
    print_json(base::Json::Object{{"folder", store.root().string()}, {"removed", removed}});
  } else {
    print(fmt::format("{} files removed from {}\n", removed, store.root().string()));
  }
}

}  // namespace

ExitCode cache(const Common& common, const CacheArguments& arguments) {
  using enum CacheArguments::Action;
  const auto folder = folder_of(common, arguments);
  if (std::filesystem::is_regular_file(folder)) {
    base::fail(ErrorCode::invalid_argument, "{} is a file, not a folder of kernels: `kiln pack` knows packs",
               folder.string());
  }
  const bool writes = arguments.action == clear || arguments.action == prune;
  const cache::DiskStore store(folder,
                               writes ? cache::DiskStore::Access::read_write : cache::DiskStore::Access::read_only,
                               logger_of(common), api::store_settings(common.options));
  if (const std::string refusal = store.refusal(); !refusal.empty()) {
    base::fail(ErrorCode::io, "{}: it is not used (cache_shared, KILN_CACHE_SHARED=on)", refusal);
  }
  switch (arguments.action) {
    case clear:
      remove_all(common, store);
      return ExitCode::ok;
    case prune:
      return cli::prune(common, store, arguments);
    case explain:
      return cli::explain(common, store, arguments);
    case stat:
      summarize(common, folder, scan(store));
      return ExitCode::ok;
    case verify:
      return cli::verify(common, scan(store), "files");
    case ls:
      break;
  }
  cli::list(common, scan(store));
  return ExitCode::ok;
}

}  // namespace kiln::cli
