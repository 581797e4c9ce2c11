#include "base/json.hpp"

#include "base/fail.hpp"
#include "base/printable.hpp"

#include <nlohmann/json.hpp>

#include <cmath>
#include <limits>
#include <utility>

namespace kiln::base {
namespace {

using Nlohmann = nlohmann::json;

constexpr std::size_t kMostDepth = 64;       // far above any file of ours, far below the stack
constexpr std::size_t kMostPathBytes = 200;  // a path is kept for every value
constexpr std::size_t kMostErrorBytes = 300;

std::string member_path(const std::string& parent, std::string_view key, bool below_root) {
  if (parent.size() > kMostPathBytes) return parent;
  return parent + (below_root ? ": " : ".") + printable(key);
}

}  // namespace

/// Builds the tree from the parser's events, so that depth and duplicate keys are judged on the way.
struct JsonReader final : nlohmann::json_sax<Nlohmann> {
  JsonReader(std::string_view file, Json& root) : origin_(file) {
    root.where_ = origin_;
    open_.push_back({&root, {}});
  }

  bool null() override { return add(Json()); }
  bool boolean(bool value) override { return add(Json(value)); }
  bool number_integer(std::int64_t value) override { return add(Json(value)); }
  bool number_unsigned(std::uint64_t value) override {
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) too_large(fmt::to_string(value));
    return add(Json(value));
  }
  bool number_float(double value, const std::string& text) override {
    // The parser turns whole numbers beyond 64 bits into doubles, which would lose digits silently.
    if (text.find_first_of(".eE") == std::string::npos) too_large(text);
    return add(Json(value));
  }
  bool string(std::string& value) override { return add(Json(std::move(value))); }
  bool binary(Nlohmann::binary_t& /*value*/) override { return false; }  // no such thing in text

  bool start_object(std::size_t /*size*/) override { return descend(Json(Json::Object{})); }
  bool start_array(std::size_t /*size*/) override { return descend(Json(Json::Array{})); }
  bool end_object() override { return ascend(); }
  bool end_array() override { return ascend(); }

  bool key(std::string& name) override {
    Frame& frame = open_.back();
    if (frame.json->find(name) != nullptr) {
      fail(ErrorCode::invalid_argument, "{}: the key '{}' stands there twice", frame.json->where_, printable(name));
    }
    frame.key = std::move(name);
    return true;
  }

  bool parse_error(std::size_t /*position*/, const std::string& /*token*/, const Nlohmann::exception& error) override {
    std::string_view what = error.what();
    if (const auto bracket = what.find("] "); bracket != std::string_view::npos) what.remove_prefix(bracket + 2);
    fail(ErrorCode::invalid_argument, "{}: {}", origin_, printable(what, kMostErrorBytes));
  }

  /// For writing: what a value holds.
  static const auto& content(const Json& json) { return json.value_; }

 private:
  struct Frame {
    Json* json;
    std::string key;  // of the member to come
  };

  [[noreturn]] void too_large(std::string_view number) const {
    fail(ErrorCode::invalid_argument, "{}: the number {} does not fit in 64 bits", next_path(), printable(number));
  }

  [[nodiscard]] std::string next_path() const {
    const Json& parent = *open_.back().json;
    if (const auto* array = std::get_if<Json::Array>(&parent.value_)) {
      return fmt::format("{}[{}]", parent.where_, array->size());
    }
    const bool in_object = std::holds_alternative<Json::Object>(parent.value_);
    return in_object ? member_path(parent.where_, open_.back().key, open_.size() == 2) : parent.where_;
  }

  Json& place(Json value) {
    value.where_ = next_path();
    Json& parent = *open_.back().json;
    if (auto* array = std::get_if<Json::Array>(&parent.value_)) return array->emplace_back(std::move(value));
    if (auto* object = std::get_if<Json::Object>(&parent.value_)) {
      return object->emplace(std::move(open_.back().key), std::move(value)).first->second;
    }
    return parent = std::move(value);  // the root
  }

  bool add(Json value) {
    place(std::move(value));
    return true;
  }

  bool descend(Json container) {
    if (open_.size() > kMostDepth) {
      fail(ErrorCode::invalid_argument, "{}: nested deeper than {} levels", next_path(), kMostDepth);
    }
    Json& inner = place(std::move(container));
    open_.push_back({&inner, {}});
    return true;
  }

  bool ascend() {
    open_.pop_back();
    return true;
  }

  std::string origin_;
  // The root's place, then every container that is open. The pointers stay valid: an array grows
  // only while none of its elements is open.
  std::vector<Frame> open_;
};

Json Json::parse(std::string_view text, std::string_view origin) {
  // The parser takes a NUL for the end and would ignore what follows it.
  if (const auto nul = text.find('\0'); nul != std::string_view::npos) {
    fail(ErrorCode::invalid_argument, "{}: a NUL byte at offset {}", origin, nul);
  }
  Json root;
  JsonReader reader(origin, root);
  constexpr bool kStrict = true;  // nothing may follow the value
  constexpr bool kIgnoreComments = true;
  Nlohmann::sax_parse(text, &reader, Nlohmann::input_format_t::json, kStrict, kIgnoreComments);
  return root;
}

namespace {

struct ToNlohmann {
  Nlohmann operator()(const Json& json) const { return std::visit(*this, JsonReader::content(json)); }
  Nlohmann operator()(std::monostate) const { return nullptr; }
  Nlohmann operator()(bool value) const { return value; }
  Nlohmann operator()(std::int64_t value) const { return value; }
  Nlohmann operator()(const std::string& value) const { return value; }
  Nlohmann operator()(double value) const {
    if (!std::isfinite(value)) fail(ErrorCode::invalid_argument, "JSON has no way to write the number {}", value);
    return value;
  }
  Nlohmann operator()(const Json::Array& array) const {
    Nlohmann out = Nlohmann::array();
    for (const Json& element : array) out.push_back((*this)(element));
    return out;
  }
  Nlohmann operator()(const Json::Object& object) const {
    Nlohmann out = Nlohmann::object();
    for (const auto& [key, value] : object) out[key] = (*this)(value);
    return out;
  }
};

}  // namespace

std::string Json::dump(bool compact) const {
  try {
    return ToNlohmann()(*this).dump(compact ? -1 : 2);
  } catch (const Nlohmann::exception&) {  // strings that are not UTF-8 are all that it refuses
    fail(ErrorCode::invalid_argument, "{}: a string within is not valid UTF-8, so JSON can't hold it",
         where_.empty() ? "a JSON value" : where_);
  }
}

}  // namespace kiln::base
