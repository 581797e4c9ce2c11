#pragma once

#include "plan/device_info.hpp"
#include "plan/kernel_config.hpp"

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>

namespace kiln::plan {

/// The version of each kernel template. A change that moves the best tiling adds one, and rows tuned
/// for an older version are passed over.
int template_version(KernelKind kind);

/// One row: the tiling to use for a request on a device.
struct TunedRow {
  KernelRequest request{};
  std::string device{};  ///< "NVIDIA H200"
  int version = 0;       ///< the template's, when it was measured
  Tiling tiling{};
  bool measured = false;    ///< false: reasoned, and `note` says how
  double microseconds = 0;  ///< of the problem tuned on, if measured
  std::string note{};
};

/// What `kiln tune` found for one architecture. Read once, then never changed.
class TunedTable {
 public:
  TunedTable() = default;
  /// Any malformed part is an Error(invalid_argument) that names its place.
  static TunedTable parse(std::string_view json, std::string_view origin);
  [[nodiscard]] std::string dump() const;

  /// Requests that differ only in what doesn't move the best tiling are one to the table.
  static bool same_row(const KernelRequest& a, const KernelRequest& b);
  /// The row for this device and the current template version.
  [[nodiscard]] std::optional<Tiling> find(const KernelRequest& request, const DeviceInfo& device) const;
  /// Adds or replaces.
  void set(const TunedRow& row);

  int capability = 0;

 private:
  using Key = std::tuple<std::string, KernelRequest>;
  std::map<Key, TunedRow> rows_;
};

/// The table built into the library for a capability; empty where there is none.
TunedTable builtin_tuned_table(int capability);
/// sm_XY.json of a folder instead, if one is given; empty where it has none for the capability.
TunedTable tuned_table(const std::optional<std::filesystem::path>& folder, int capability);

}  // namespace kiln::plan
