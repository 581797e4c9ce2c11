#include "base/fail.hpp"
#include "base/file_descriptor.hpp"
#include "base/files.hpp"
#include "base/sha256.hpp"
#include "jit/compiler_search.hpp"
#include "jit/elf_file.hpp"
#include "jit/loader_cache.hpp"

#include <algorithm>
#include <cstdlib>
#include <fcntl.h>
#include <string_view>
#include <system_error>
#include <vector>

namespace kiln::jit {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSonames[] = {"libnvrtc.so.13", "libnvrtc.so.12"};  // best first

/// Folders in `parent` whose names begin and end so, in the order of their names.
std::vector<fs::path> folders_like(const fs::path& parent, std::string_view begin, std::string_view end = "") {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator at(parent, error), last; !error && at != last; at.increment(error)) {
    const std::string name = at->path().filename().string();
    std::error_code unreadable;
    if (name.starts_with(begin) && name.ends_with(end) && at->is_directory(unreadable)) found.push_back(at->path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

/// The digest stands in where a build id was stripped off. Empty if the file can't be read.
std::string digest_of(const fs::path& path) {
  const base::FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::vector<std::byte> buffer(std::size_t{1} << 20);
  base::Sha256 hash;
  for (;;) {
    const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
    if (got == 0) return base::to_hex(hash.finish());
    if (got > 0) hash.update(std::span(buffer).first(static_cast<std::size_t>(got)));
    if (got < 0 && errno != EINTR) return {};
  }
}

std::optional<CompilerFile> identify(const fs::path& path, const ElfFile& elf) {
  std::error_code error;
  CompilerFile file{fs::absolute(path, error), elf.build_id.empty() ? digest_of(path) : elf.build_id};
  if (error || file.identity.empty()) return std::nullopt;
  return file;
}

/// One search: remembers where it looked.
class Search {
 public:
  explicit Search(const SearchPlaces& places) : places_(places) {}

  std::optional<CompilerFile> run() {
    if (places_.explicit_path) return in_explicit_path(*places_.explicit_path);
    if (auto file = in_toolkit("CUDA_HOME", places_.cuda_home)) return file;
    if (auto file = in_toolkit("CUDA_PATH", places_.cuda_path)) return file;
    if (auto file = in_loader_path(kSonames)) return file;
    return in_wheels();
  }

  [[nodiscard]] const std::string& searched() const { return searched_; }

 private:
  void note(std::string_view place) { searched_ += (searched_.empty() ? "" : ", ") + std::string(place); }

  static std::optional<CompilerFile> try_file(const fs::path& path) {
    const std::optional<ElfFile> elf = read_elf(path);  // a toolkit may hold libraries for other processors, too
    return elf && elf->for_this_machine ? identify(path, *elf) : std::nullopt;
  }

  static std::optional<CompilerFile> in_folder(const fs::path& folder, std::span<const std::string_view> sonames) {
    for (const std::string_view soname : sonames) {
      if (auto file = try_file(folder / soname)) return file;
    }
    return std::nullopt;
  }

  std::optional<CompilerFile> in_explicit_path(const fs::path& path) {
    note(path.string());
    if (!path.has_parent_path()) {  // a bare name is the loader's to find
      const std::string name = path.string();
      const std::string_view soname = name;
      return in_loader_path(std::span(&soname, 1));
    }
    std::error_code error;
    if (fs::is_directory(path, error)) return in_folder(path, kSonames);
    if (!fs::is_regular_file(path, error)) return std::nullopt;
    return identify(path, read_elf(path).value_or(ElfFile{}));  // what is wrong with it, the loader says best
  }

  std::optional<CompilerFile> in_toolkit(std::string_view variable, const std::string& home) {
    note(home.empty() ? fmt::format("{} (not set)", variable) : fmt::format("{} ({})", variable, home));
    if (home.empty()) return std::nullopt;
    return in_toolkit_folder(home, kSonames);
  }

  static std::optional<CompilerFile> in_toolkit_folder(const fs::path& home,
                                                       std::span<const std::string_view> sonames) {
    for (const char* folder : {"lib64", "lib"}) {
      if (auto file = in_folder(home / folder, sonames)) return file;
    }
    for (const fs::path& target : folders_like(home / "targets", "")) {
      if (auto file = in_folder(target / "lib", sonames)) return file;
    }
    return std::nullopt;
  }

  std::optional<CompilerFile> in_loader_path(std::span<const std::string_view> sonames) {
    note(places_.library_path.empty() ? "LD_LIBRARY_PATH (not set)" : "LD_LIBRARY_PATH");
    for (std::string_view rest = places_.library_path; !rest.empty();) {
      const std::size_t end = std::min(rest.find_first_of(":;"), rest.size());
      const std::string_view folder = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (folder.empty()) continue;  // the loader takes it for the current folder, which nobody means
      if (auto file = in_folder(folder, sonames)) return file;
    }
    note("the loader's cache");
    if (auto file = in_loader_cache(sonames)) return file;
    note("the system's library folders");
    for (const char* folder : {"lib64", "usr/lib64", "lib", "usr/lib", "usr/local/lib"}) {
      if (auto file = in_folder(places_.root / folder, sonames)) return file;
    }
    for (const fs::path& folder : folders_like(places_.root / "usr/lib", "", "-linux-gnu")) {
      if (auto file = in_folder(folder, sonames)) return file;
    }
    note("/usr/local/cuda");
    return in_toolkit_folder(places_.root / "usr/local/cuda", sonames);
  }

  [[nodiscard]] std::optional<CompilerFile> in_loader_cache(std::span<const std::string_view> sonames) const {
    constexpr std::size_t kMostBytes = std::size_t{64} << 20;
    std::string cache;
    try {
      cache = base::read_file(places_.root / "etc/ld.so.cache", kMostBytes);
    } catch (const Error&) {
      return std::nullopt;  // there need not be one
    }
    for (const std::string_view soname : sonames) {
      for (const fs::path& path : find_in_loader_cache(cache, soname)) {
        if (auto file = try_file(places_.root / path.relative_path())) return file;
      }
    }
    return std::nullopt;
  }

  std::optional<CompilerFile> in_wheels() {
    std::vector<fs::path> prefixes;
    for (const std::string& prefix : {places_.virtual_env, places_.conda_prefix}) {
      if (!prefix.empty()) prefixes.emplace_back(prefix);
    }
    if (!places_.home.empty()) prefixes.emplace_back(fs::path(places_.home) / ".local");
    prefixes.push_back(places_.root / "usr/local");
    prefixes.push_back(places_.root / "usr");
    note("the nvidia wheels under");
    for (const fs::path& prefix : prefixes) {
      searched_ += (prefix == prefixes.front() ? " " : ", ") + prefix.string();
      for (const fs::path& python : folders_like(prefix / "lib", "python3")) {
        for (const char* packages : {"site-packages", "dist-packages"}) {
          if (auto file = in_packages(python / packages)) return file;
        }
      }
    }
    return std::nullopt;
  }

  static std::optional<CompilerFile> in_packages(const fs::path& packages) {
    for (const char* wheel : {"nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib"}) {
      if (auto file = in_folder(packages / wheel, kSonames)) return file;
    }
    return std::nullopt;
  }

  const SearchPlaces& places_;
  std::string searched_;
};

std::string variable(const char* name) {
  const char* value = ::secure_getenv(name);  // not for a program that runs with another user's rights
  return value != nullptr ? value : "";
}

}  // namespace

std::optional<CompilerFile> search_compiler(const SearchPlaces& places, std::string* searched) {
  Search search(places);
  auto file = search.run();
  if (searched != nullptr) *searched = search.searched();
  return file;
}

SearchPlaces search_places(const std::optional<fs::path>& explicit_path) {
  SearchPlaces places;
  places.explicit_path = explicit_path;
  places.cuda_home = variable("CUDA_HOME");
  places.cuda_path = variable("CUDA_PATH");
  places.library_path = variable("LD_LIBRARY_PATH");
  places.virtual_env = variable("VIRTUAL_ENV");
  places.conda_prefix = variable("CONDA_PREFIX");
  places.home = variable("HOME");
  return places;
}

std::optional<CompilerFile> find_compiler(const std::optional<fs::path>& explicit_path, std::string* searched) {
  return search_compiler(search_places(explicit_path), searched);
}

}  // namespace kiln::jit
