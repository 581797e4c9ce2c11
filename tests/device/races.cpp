#include "device/emulator/races.hpp"

namespace emulator {
namespace {

constexpr int kWarp = 32;

std::uint32_t bit(int i) { return std::uint32_t{1} << i; }

bool ordered_in_block(const Moment& before, const Moment& now) {
  return before.thread == now.thread || before.block_barriers < now.block_barriers ||
         (before.thread / kWarp == now.thread / kWarp && before.warp_barriers < now.warp_barriers);
}

std::string name_of(const Moment& moment) {
  return "thread " + std::to_string(moment.thread) + " of block " + std::to_string(moment.block);
}

}  // namespace

RaceDetector::RaceDetector(const unsigned char* shared, std::size_t shared_bytes)
    : shared_(shared), cells_(shared_bytes / kCellBytes) {}

void RaceDetector::start_launch() {
  global_writes_.clear();
  atomics_.clear();
  found_.clear();
  for (Cell& cell : cells_) cell.block = -1;
}

template <class Shared, class Global>
void RaceDetector::for_cells(const void* address, std::size_t bytes, Shared shared, Global global) {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  const std::uintptr_t in_shared = at - reinterpret_cast<std::uintptr_t>(shared_);
  const bool is_shared = in_shared < cells_.size() * kCellBytes;
  const std::uintptr_t first = is_shared ? in_shared : at;
  for (std::uintptr_t i = first / kCellBytes; i <= (first + bytes - 1) / kCellBytes; ++i) {
    is_shared ? shared(i) : global(i);
  }
}

void RaceDetector::read(const void* address, std::size_t bytes, const Moment& now) {
  for_cells(
      address, bytes, [&](std::uintptr_t i) { read_shared(i, now); },
      [&](std::uintptr_t i) {
        const auto write = global_writes_.find(i);
        if (write != global_writes_.end() && !ordered(write->second, now)) report_global("read", write->second, now);
      });
}

void RaceDetector::write(const void* address, std::size_t bytes, const Moment& now) {
  for_cells(
      address, bytes, [&](std::uintptr_t i) { write_shared(i, now); },
      [&](std::uintptr_t i) {
        Moment& write = global_writes_.try_emplace(i, now).first->second;
        if (!ordered(write, now)) report_global("written", write, now);
        write = now;
      });
}

RaceDetector::Cell& RaceDetector::cell(std::size_t index, const Moment& now) {
  Cell& cell = cells_[index];
  if (cell.block != now.block) {
    cell = Cell{};
    cell.block = now.block;
  }
  return cell;
}

void RaceDetector::read_shared(std::size_t index, const Moment& now) {
  Cell& c = cell(index, now);
  check_write(c, index, now);
  if (c.read_block_barriers != now.block_barriers) {
    c.read_block_barriers = now.block_barriers;
    c.read_warps = 0;
    c.read_warp_barriers = -1;
  }
  c.read_warps |= bit(now.thread / kWarp);  // with several, any write is a race and lanes don't matter
  if (c.read_warp_barriers != now.warp_barriers) c.read_lanes = 0;
  c.read_warp_barriers = now.warp_barriers;
  c.read_lanes |= bit(now.thread % kWarp);
}

void RaceDetector::write_shared(std::size_t index, const Moment& now) {
  Cell& c = cell(index, now);
  check_write(c, index, now);
  if (c.read_block_barriers == now.block_barriers) {
    const bool warps = (c.read_warps & ~bit(now.thread / kWarp)) != 0;
    const bool lanes = c.read_warp_barriers == now.warp_barriers && (c.read_lanes & ~bit(now.thread % kWarp)) != 0;
    if (warps || lanes) report_shared("another thread's read and the write", index, now);
  }
  c.write = now;
}

void RaceDetector::check_write(const Cell& cell, std::size_t index, const Moment& now) {
  if (cell.copying) {
    report_shared("a copy under way and the access", index, now);
  } else if (cell.write.block == now.block && !ordered_in_block(cell.write, now)) {
    report_shared("another thread's write and the access", index, now);
  }
}

void RaceDetector::copy_starts(const void* to, std::size_t bytes, const Moment& now) {
  write(to, bytes, now);
  for_cells(to, bytes, [&](std::uintptr_t i) { cell(i, now).copying = true; }, [](std::uintptr_t) {});
}

void RaceDetector::copy_lands(const void* to, std::size_t bytes, const Moment& now) {
  for_cells(to, bytes, [&](std::uintptr_t i) { cell(i, now).copying = false; }, [](std::uintptr_t) {});
  write(to, bytes, now);
}

void RaceDetector::release_and_acquire(const Moment& now) { atomics_[now.block] = now; }

/// In another block: over an atomic of that block after the access, and a later one of this block before.
bool RaceDetector::ordered(const Moment& before, const Moment& now) const {
  if (before.block == now.block) return ordered_in_block(before, now);
  const auto released = atomics_.find(before.block);
  const auto acquired = atomics_.find(now.block);
  return released != atomics_.end() && acquired != atomics_.end() && before.step < released->second.step &&
         released->second.step < acquired->second.step && ordered_in_block(before, released->second) &&
         ordered_in_block(acquired->second, now);
}

void RaceDetector::report_shared(const char* what, std::size_t index, const Moment& now) {
  if (!found_.empty()) return;
  found_ = std::string("race: no barrier between ") + what + " of " + name_of(now) + ", byte " +
           std::to_string(index * kCellBytes) + " of shared memory";
}

void RaceDetector::report_global(const char* what, const Moment& write, const Moment& now) {
  if (!found_.empty()) return;
  found_ = std::string("race: global memory written by ") + name_of(write) + " is " + what + " by " + name_of(now) +
           " with no order between";
}

}  // namespace emulator
