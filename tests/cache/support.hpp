#pragma once

#include "base/log.hpp"
#include "cache/disk_store.hpp"

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <sys/types.h>
#include <vector>

namespace kiln::cache {

/// An entry whose ids are 64 times `digit`, with an image that is not all alike.
Entry sample_entry(char digit = 'a', std::size_t image_bytes = 300);

/// Where a store keeps an entry: docs/CACHE.md, written down a second time.
std::filesystem::path path_in(const std::filesystem::path& root, const Entry& entry);

std::vector<std::byte> read_bytes(const std::filesystem::path& path);
void write_bytes(const std::filesystem::path& path, std::span<const std::byte> bytes);
/// All that lies below a folder, as sorted relative paths of files.
std::vector<std::string> files_below(const std::filesystem::path& folder);

/// A fresh folder, removed at the end.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// While this lives a test that root runs is bound by permissions like anyone else, and the folder is its own.
class Unprivileged {
 public:
  explicit Unprivileged(const std::filesystem::path& folder);
  ~Unprivileged();
  Unprivileged(const Unprivileged&) = delete;
  Unprivileged& operator=(const Unprivileged&) = delete;
  [[nodiscard]] static bool works();

 private:
  bool changed_ = false;
};

/// Keeps what was logged at warning and above.
class LogLines {
 public:
  [[nodiscard]] base::Logger logger() const;
  [[nodiscard]] std::vector<std::string> lines() const;

 private:
  struct Kept {
    std::mutex mutex;
    std::vector<std::string> lines;
  };
  std::shared_ptr<Kept> kept_ = std::make_shared<Kept>();
};

/// This test program run again as a worker (worker.cpp), with pipes to its input and from its output.
class Worker {
 public:
  explicit Worker(const std::vector<std::string>& arguments);
  ~Worker();  ///< kills it if it still runs
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void close_input();
  /// Waits for the worker's next character; 0 at the end of its output.
  char read_output();
  void kill() const;
  /// The exit status, or minus the signal that ended it.
  int wait();

 private:
  base::FileDescriptor input_;
  base::FileDescriptor output_;
  pid_t pid_ = -1;
};

/// What a worker does; its exit status.
int run_worker(const std::vector<std::string>& arguments);

}  // namespace kiln::cache
