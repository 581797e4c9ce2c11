#include "base/fail.hpp"
#include "base/json.hpp"
#include "base/printable.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace kiln::base {
namespace {

using Limits = std::numeric_limits<std::int64_t>;

struct Describe {
  std::string operator()(std::monostate) const { return "null"; }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(std::int64_t value) const { return fmt::to_string(value); }
  std::string operator()(double value) const { return fmt::to_string(value); }
  std::string operator()(const std::string& value) const { return '"' + printable(value) + '"'; }
  std::string operator()(const Json::Array& /*value*/) const { return "an array"; }
  std::string operator()(const Json::Object& /*value*/) const { return "an object"; }
};

/// What messages call a value: it has no place if it was not parsed.
std::string place(const Json& json) { return json.where().empty() ? "a JSON value" : json.where(); }

template <class Value>
[[noreturn]] void fail_type(const Json& json, std::string_view wanted, const Value& value) {
  fail(ErrorCode::invalid_argument, "{}: must be {}, but is {}", place(json), wanted, std::visit(Describe(), value));
}

std::string range(std::int64_t least, std::int64_t most) {
  if (least == Limits::min() && most == Limits::max()) return "a whole number";
  if (most == Limits::max()) return fmt::format("a whole number of at least {}", least);
  if (least == Limits::min()) return fmt::format("a whole number of at most {}", most);
  return fmt::format("a whole number from {} to {}", least, most);
}

}  // namespace

bool Json::as_bool() const {
  if (const auto* value = std::get_if<bool>(&value_)) return *value;
  fail_type(*this, "true or false", value_);
}

std::int64_t Json::as_int(std::int64_t least, std::int64_t most) const {
  const auto* value = std::get_if<std::int64_t>(&value_);
  if (value != nullptr && *value >= least && *value <= most) return *value;
  fail_type(*this, range(least, most), value_);
}

double Json::as_double() const {
  if (const auto* value = std::get_if<double>(&value_)) return *value;
  if (const auto* value = std::get_if<std::int64_t>(&value_)) return static_cast<double>(*value);
  fail_type(*this, "a number", value_);
}

const std::string& Json::as_string() const {
  if (const auto* value = std::get_if<std::string>(&value_)) return *value;
  fail_type(*this, "a string", value_);
}

const Json::Array& Json::as_array() const {
  if (const auto* value = std::get_if<Array>(&value_)) return *value;
  fail_type(*this, "an array", value_);
}

const Json::Object& Json::as_object() const {
  if (const auto* value = std::get_if<Object>(&value_)) return *value;
  fail_type(*this, "an object", value_);
}

const Json* Json::find(std::string_view key) const {
  const Object& object = as_object();
  const auto found = object.find(key);
  return found != object.end() ? &found->second : nullptr;
}

const Json& Json::at(std::string_view key) const {
  if (const Json* member = find(key)) return *member;
  fail(ErrorCode::invalid_argument, "{}: the key '{}' is missing", place(*this), key);
}

void Json::allow_keys(std::span<const std::string_view> known) const {
  for (const auto& [key, value] : as_object()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::string_view nearest = nearest_name(key, known);
    const std::string advice = nearest.empty() ? fmt::format("known are {}", fmt::join(known, ", "))
                                               : fmt::format("did you mean '{}'?", nearest);
    fail(ErrorCode::invalid_argument, "{}: the key '{}' is not known: {}", place(*this), printable(key), advice);
  }
}

Json& Json::operator[](const std::string& key) {
  if (is_null()) value_ = Object();
  if (auto* object = std::get_if<Object>(&value_)) return (*object)[key];
  fail_type(*this, "an object", value_);
}

void Json::push_back(Json value) {
  if (is_null()) value_ = Array();
  auto* array = std::get_if<Array>(&value_);
  if (array == nullptr) fail_type(*this, "an array", value_);
  array->push_back(std::move(value));
}

}  // namespace kiln::base
