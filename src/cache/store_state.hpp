#pragma once

#include "cache/disk_store.hpp"

#include <atomic>
#include <mutex>

namespace kiln::cache {

/// What the copies of a store share.
struct DiskStore::Shared {
  std::atomic<unsigned> told{0};  ///< of which troubles a warning was given
  std::mutex mutex;
  LookSchedule schedule;
};

}  // namespace kiln::cache
