#include "c_api/handles.hpp"
#include "c_api/status.hpp"

#include <string>

using kiln::Options;
using kiln::c_api::create;
using kiln::c_api::guarded;
using kiln::c_api::required;

namespace {

kiln_options* hand_over(Options options) { return new kiln_options{std::move(options)}; }

kiln::LogCallback callback_of(kiln_log_callback callback, void* user) {
  if (callback == nullptr) return {};
  return [callback, user](kiln::LogLevel level, std::string_view line) {
    callback(static_cast<std::int32_t>(level), std::string(line).c_str(), user);
  };
}

static_assert(static_cast<int>(kiln::LogLevel::trace) == KILN_LOG_TRACE);
static_assert(static_cast<int>(kiln::LogLevel::off) == KILN_LOG_OFF);

}  // namespace

kiln_status kiln_options_create(kiln_options** options) {
  return create(options, "options", [] { return hand_over({}); });
}

kiln_status kiln_options_from_environment(kiln_options** options) {
  return create(options, "options", [] { return hand_over(Options::from_environment()); });
}

kiln_status kiln_options_from_file(const char* path, kiln_options** options) {
  return create(options, "options", [&] { return hand_over(Options::from_file(&required(path, "path"))); });
}

kiln_status kiln_options_from_json(const char* text, const char* origin, kiln_options** options) {
  return create(options, "options", [&] {
    return hand_over(Options::from_json(&required(text, "text"), origin != nullptr ? origin : "options"));
  });
}

void kiln_options_destroy(kiln_options* options) { delete options; }

kiln_status kiln_options_set(kiln_options* options, const char* key, const char* value) {
  return guarded([&] { required(options, "options").options.set(&required(key, "key"), &required(value, "value")); });
}

kiln_status kiln_options_add_pack(kiln_options* options, const void* pack, size_t bytes) {
  return guarded([&] {
    const auto* const first = static_cast<const std::byte*>(pack);
    required(options, "options").options.packs.emplace_back(&required(first, "pack"), bytes);
  });
}

kiln_status kiln_options_apply_environment(kiln_options* options) {
  return guarded([&] { required(options, "options").options.apply_environment(); });
}

kiln_status kiln_options_set_log(kiln_options* options, kiln_log_callback callback, void* user) {
  return guarded([&] { required(options, "options").options.log = callback_of(callback, user); });
}
