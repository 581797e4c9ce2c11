#include "api/workspace_check.hpp"

#include "base/fail.hpp"

#include <functional>
#include <optional>
#include <string>
#include <utility>

namespace kiln::api {
namespace {

using Bytes = std::span<const std::byte>;

const std::byte* end_of(Bytes bytes) { return bytes.data() + bytes.size(); }

bool overlap(Bytes a, Bytes b) {
  const std::less<const std::byte*> before;
  return before(a.data(), end_of(b)) && before(b.data(), end_of(a));
}

bool contains(Bytes outer, Bytes inner) {
  const std::less<const std::byte*> before;
  return !before(inner.data(), outer.data()) && !before(end_of(outer), end_of(inner));
}

std::string name_of(Stream stream, std::uint64_t id) {
  const auto handle = stream == nullptr ? std::string("the default stream")
                                        : fmt::format("stream {}", fmt::ptr(static_cast<const void*>(stream)));
  return fmt::format("{} (the driver's number {})", handle, id);
}

std::string name_of(Bytes workspace) {
  return fmt::format("{} bytes at {}", workspace.size(), fmt::ptr(static_cast<const void*>(workspace.data())));
}

}  // namespace

WorkspaceCheck::~WorkspaceCheck() {
  const auto current = driver_->forked() ? std::nullopt : driver_->current_context_id();
  for (auto& [context, uses] : unfinished_) {
    if (context == current) continue;
    for (Use& use : uses) use.done.leave();
  }
}

void WorkspaceCheck::launch(Stream stream, Bytes workspace, const std::function<void()>& queue) {
  driver_->check_not_forked();  // before the lock
  const auto context = driver_->current_context_id();
  // Without a context the launch says best what is wrong.
  if (workspace.empty() || !context || driver_->capturing(stream)) return queue();
  const auto stream_id = driver_->stream_id(stream);

  const std::scoped_lock lock(mutex_);  // until the call's own event is there: another thread's call must see it
  auto& uses = unfinished_[*context];
  std::erase_if(uses, [](const Use& use) { return use.done.reached(); });
  for (const Use& use : uses) {
    if (use.stream_id == stream_id || !overlap(use.workspace, workspace)) continue;
    base::fail(ErrorCode::invalid_argument,
               "two streams share a workspace: this call on {} would use {} while a call on {}, which uses {}, has not "
               "finished. Give each stream a workspace of its own, or wait for the one stream before the other uses it "
               "(found by check_workspaces)",
               name_of(stream, stream_id), name_of(workspace), name_of(use.stream, use.stream_id),
               name_of(use.workspace));
  }
  cuda::Event done(driver_);
  queue();
  done.record(stream);
  // Where the stream has come to this call, it has passed its earlier ones.
  std::erase_if(uses, [&](const Use& use) { return use.stream_id == stream_id && contains(workspace, use.workspace); });
  uses.push_back({workspace, stream, stream_id, std::move(done)});
}

}  // namespace kiln::api
