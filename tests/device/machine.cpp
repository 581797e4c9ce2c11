#include "device/emulator/machine.hpp"

#include "device/emulator/races.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <ucontext.h>
#include <vector>

EmulatedIndex threadIdx;
EmulatedIndex blockIdx;
EmulatedIndex gridDim;
// What the kernels declare as their shared memory; as much as any GPU has.
inline constexpr int kEmulatedSharedBytes = 232448;
extern "C" {
alignas(128) unsigned char smem_bytes[kEmulatedSharedBytes];
}

namespace emulator {
namespace {

// A sanitizer cleans a whole stack at every switch.
constexpr std::size_t kStackBytes = 80 << 10;

struct Copy {
  std::uint32_t dst;
  const void* src;
  std::uint32_t bytes;
};

struct Fiber {
  ucontext_t context{};
  std::unique_ptr<char[]> stack;
  std::vector<Copy> open_copies;
  std::deque<std::vector<Copy>> groups;
  int block_barriers = 0;
  int warp_barriers = 0;
  bool done = false;
};

/// A meeting of `size` fibers; `round` grows when all have come.
struct Meeting {
  int size = 0;
  int arrived = 0;
  int round = 0;
};

struct Warp {
  Meeting meeting;
  std::array<std::array<Words, kLanes>, 2> shown;  // of even and odd rounds
};

struct Block {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  Meeting barrier;
  std::array<bool, 3> any{};  // of the barrier's round, the one before, whose last may still be read, and the next
  int progress = 0;           // meetings completed and threads finished
  std::exception_ptr error;
};

Block* block = nullptr;
ucontext_t scheduler;
std::size_t current = 0;
const std::function<void()>* body = nullptr;
Copies copies = Copies::asynchronous;
std::vector<BarrierSite> barriers;
std::optional<BarrierSite> left_out;

Fiber& self() { return block->fibers[current]; }

RaceDetector& races() {
  static RaceDetector detector(smem_bytes, kEmulatedSharedBytes);
  return detector;
}

Moment now() {
  static std::uint64_t step = 0;
  return {.block = blockIdx.x + blockIdx.y * gridDim.x,
          .thread = static_cast<int>(current),
          .block_barriers = self().block_barriers,
          .warp_barriers = self().warp_barriers,
          .step = ++step};
}

/// What no other thread of the kernel can reach: its own stack, and what the warp shows in a collective.
bool is_private(const void* address) {
  const auto* byte = static_cast<const char*>(address);
  const char* stack = self().stack.get();
  if (byte >= stack && byte < stack + kStackBytes) return true;
  const auto* shown = reinterpret_cast<const char*>(block->warps.data());
  return byte >= shown && byte < shown + block->warps.size() * sizeof(Warp);
}

/// False: the barrier at this place is left out.
bool comes_to(const std::source_location& site) {
  const auto here = [&](const BarrierSite& b) { return b.line == site.line() && b.file == site.file_name(); };
  if (std::ranges::none_of(barriers, here)) barriers.push_back({site.file_name(), site.line()});
  return !left_out || !here(*left_out);
}

void fill(const Copy& copy) {
  unsigned char* dst = shared_pointer(copy.dst);
  if (copy.bytes > 0) std::memcpy(dst, copy.src, copy.bytes);
  std::memset(dst + copy.bytes, 0, 16 - copy.bytes);
}

void give_way() { swapcontext(&self().context, &scheduler); }

void meet(Meeting& meeting) {
  const int round = meeting.round;
  if (++meeting.arrived == meeting.size) {
    meeting.arrived = 0;
    ++meeting.round;
    ++block->progress;
    return;
  }
  while (meeting.round == round) give_way();
}

/// Returns to the scheduler by uc_link: AddressSanitizer keeps the frames of what never returns, until it has no room
/// left and looks through all of them at every call.
void fiber_main() {
  try {
    (*body)();
    wait_copies(0);
  } catch (...) {  // can't leave the fiber's stack
    block->error = std::current_exception();
  }
  self().done = true;
  ++block->progress;
}

/// Lets every fiber of a warp run until it waits.
bool run_warp_once(std::size_t warp) {
  bool alive = false;
  for (current = warp * kLanes; current < (warp + 1) * kLanes; ++current) {
    if (self().done) continue;
    alive = true;
    threadIdx.x = static_cast<unsigned>(current);
    swapcontext(&scheduler, &self().context);
  }
  return alive;
}

/// Runs each warp as far as it gets before the next one, first to last or last to first: warps are then
/// as far apart as the barriers allow, so that a missing one shows.
bool run_once(Block& b) {
  bool alive = false;
  for (std::size_t i = 0; i < b.warps.size(); ++i) {
    const std::size_t warp = (blockIdx.x + blockIdx.y) % 2 == 0 ? i : b.warps.size() - 1 - i;
    for (int before = -1; before != b.progress;) {
      before = b.progress;
      alive |= run_warp_once(warp);
    }
  }
  return alive;
}

/// On its own, since getcontext returns twice as far as the compiler knows.
[[gnu::noinline]] void prepare(Fiber& fiber) {
  fiber.stack = std::unique_ptr<char[]>(new char[kStackBytes]);
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = &scheduler;
  makecontext(&fiber.context, fiber_main, 0);
}

void run_block(int threads) {
  Block b;
  block = &b;
  const std::shared_ptr<void> leave(nullptr, [](void*) { block = nullptr; });
  b.barrier.size = threads;
  b.warps.resize(static_cast<std::size_t>(threads / kLanes));
  for (Warp& warp : b.warps) warp.meeting.size = kLanes;
  b.fibers.resize(static_cast<std::size_t>(threads));
  for (Fiber& fiber : b.fibers) prepare(fiber);
  // What an earlier block left must not be taken for data: 0xffff is NaN in both 16-bit types.
  std::memset(smem_bytes, 0xff, kEmulatedSharedBytes);
  for (int before = -1; run_once(b); before = b.progress) {
    if (b.error) std::rethrow_exception(b.error);
    if (b.progress == before) throw std::runtime_error("deadlock: no thread of the block can go on");
  }
  if (b.error) std::rethrow_exception(b.error);
  if (!races().found().empty()) throw std::runtime_error(races().found());
}

}  // namespace

void launch(Grid grid, int threads, Copies how_it_copies, const std::function<void()>& thread_main) {
  body = &thread_main;
  copies = how_it_copies;
  races().start_launch();
  gridDim = {grid.x, grid.y, 1};
  for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y) {
    for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x) run_block(threads);
  }
}

int lane() { return static_cast<int>(current % kLanes); }

void on_access(const void* address, std::size_t bytes, bool write) {
  // The machine itself shares inline functions with what is instrumented.
  static bool busy = false;
  if (block == nullptr || busy || is_private(address)) return;
  busy = true;
  write ? races().write(address, bytes, now()) : races().read(address, bytes, now());
  busy = false;
}

void warp_barrier(const std::source_location& site) {
  if (!comes_to(site)) return;
  warp_exchange({});
  ++self().warp_barriers;
}

bool block_any(bool value, const std::source_location& site) {
  if (!comes_to(site)) return value;
  const auto round = static_cast<std::size_t>(block->barrier.round) % block->any.size();
  block->any[round] |= value;
  block->any[(round + 1) % block->any.size()] = false;
  meet(block->barrier);
  ++self().block_barriers;
  ++self().warp_barriers;
  return block->any[round];
}

void block_barrier(const std::source_location& site) { static_cast<void>(block_any(false, site)); }

const std::array<Words, kLanes>& warp_exchange(const Words& words) {
  Warp& warp = block->warps[current / kLanes];
  auto& shown = warp.shown[static_cast<std::size_t>(warp.meeting.round % 2)];
  shown[static_cast<std::size_t>(lane())] = words;
  meet(warp.meeting);
  return shown;
}

void copy(std::uint32_t dst, const void* src, std::uint32_t bytes) {
  if (dst % 16 != 0 || reinterpret_cast<std::uintptr_t>(src) % 16 != 0) throw std::runtime_error("misaligned copy");
  if (copies == Copies::at_once) {
    races().write(shared_pointer(dst), 16, now());
    fill({dst, src, bytes});
    return;
  }
  races().copy_starts(shared_pointer(dst), 16, now());
  self().open_copies.push_back({dst, src, bytes});
}

void commit_copies() {
  self().groups.push_back(std::move(self().open_copies));
  self().open_copies.clear();
}

void wait_copies(int pending) {
  auto& groups = self().groups;
  while (groups.size() > static_cast<std::size_t>(pending)) {
    for (const Copy& copy : groups.front()) {
      races().copy_lands(shared_pointer(copy.dst), 16, now());
      fill(copy);
    }
    groups.pop_front();
  }
}

int atomic_add_acquire_release(int* address, int value) {
  races().release_and_acquire(now());
  const int old = *address;
  *address += value;
  return old;
}

const std::vector<BarrierSite>& barriers_met() { return barriers; }
WithoutBarrier::WithoutBarrier(const BarrierSite& site) { left_out = site; }
WithoutBarrier::~WithoutBarrier() { left_out.reset(); }

std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(static_cast<const unsigned char*>(pointer) - smem_bytes);
}

unsigned char* shared_pointer(std::uint32_t address) {
  if (address >= kEmulatedSharedBytes) throw std::runtime_error("outside of shared memory");
  return smem_bytes + address;
}

}  // namespace emulator
