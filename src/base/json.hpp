#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace kiln::base {

/// A JSON value. Reading is strict and says where: every getter throws Error(invalid_argument) that
/// names the place ("options.compile_jobs") and what stood there instead.
class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::map<std::string, Json, std::less<>>;

  Json() = default;
  Json(std::nullptr_t) {}                                                  // NOLINT(google-explicit-constructor)
  Json(bool value) : value_(value) {}                                      // NOLINT(google-explicit-constructor)
  Json(int value) : value_(std::int64_t{value}) {}                         // NOLINT(google-explicit-constructor)
  Json(std::int64_t value) : value_(value) {}                              // NOLINT(google-explicit-constructor)
  Json(std::uint64_t value) : value_(static_cast<std::int64_t>(value)) {}  // NOLINT(google-explicit-constructor)
  Json(double value) : value_(value) {}                                    // NOLINT(google-explicit-constructor)
  Json(const char* value) : value_(std::string(value)) {}                  // NOLINT(google-explicit-constructor)
  Json(std::string value) : value_(std::move(value)) {}                    // NOLINT(google-explicit-constructor)
  Json(std::string_view value) : value_(std::string(value)) {}             // NOLINT(google-explicit-constructor)
  Json(Array value) : value_(std::move(value)) {}                          // NOLINT(google-explicit-constructor)
  Json(Object value) : value_(std::move(value)) {}                         // NOLINT(google-explicit-constructor)

  /// Comments are allowed. `origin` (a file name) begins the message of a syntax error and the path
  /// of every value.
  static Json parse(std::string_view text, std::string_view origin);
  /// Two-space indent and sorted keys unless compact; ends without a line end.
  [[nodiscard]] std::string dump(bool compact = false) const;

  [[nodiscard]] bool as_bool() const;
  [[nodiscard]] std::int64_t as_int(std::int64_t least, std::int64_t most) const;
  [[nodiscard]] double as_double() const;
  [[nodiscard]] const std::string& as_string() const;
  [[nodiscard]] const Array& as_array() const;
  [[nodiscard]] const Object& as_object() const;

  /// The member, or null if there is none.
  [[nodiscard]] const Json* find(std::string_view key) const;
  /// The member; an error if there is none.
  [[nodiscard]] const Json& at(std::string_view key) const;
  /// An error that names the first key not in `known` and the nearest one that is.
  void allow_keys(std::span<const std::string_view> known) const;

  /// The member, made if absent, of an object under construction.
  Json& operator[](const std::string& key);
  void push_back(Json value);

  [[nodiscard]] bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  [[nodiscard]] bool is_string() const { return std::holds_alternative<std::string>(value_); }
  [[nodiscard]] bool is_array() const { return std::holds_alternative<Array>(value_); }
  /// Where this value stood in the parsed text: "options.json: compile_jobs".
  [[nodiscard]] const std::string& where() const { return where_; }

 private:
  friend struct JsonReader;
  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> value_;
  std::string where_;
};

/// The known name nearest to a misspelt one, or empty if none is near.
std::string_view nearest_name(std::string_view name, std::span<const std::string_view> known);

}  // namespace kiln::base
