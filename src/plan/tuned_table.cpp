#include "plan/tuned_table.hpp"

#include "base/embedded.hpp"
#include "base/fail.hpp"
#include "base/files.hpp"
#include "plan/names.hpp"

#include <algorithm>
#include <array>
#include <limits>

namespace kiln::plan {
namespace {

/// Requests that want the same tiling share a row: where the diagonal stands does not matter, nor which of the 16-bit
/// types it is, nor what only the beginning or the end of a block sees.
KernelRequest bucket(const KernelRequest& request) {
  auto out = canonical(request);
  auto& config = out.config;
  config.alignment = Alignment::bottom_right;
  if (config.dtype == DType::f16) config.dtype = DType::bf16;
  if (config.window == Window::fixed) config.window = Window::sliding;
  config.window_left = config.window_right = -1;
  config.sinks = config.ragged = config.output_f32 = false;
  if (request.kind == KernelKind::forward) config.paged = false;  // decode: pages take time where nothing else does
  return out;
}

int tiling_member(const base::Json& json, std::string_view key) {
  constexpr int kMost = 1 << 12;
  return static_cast<int>(json.at(key).as_int(1, kMost));
}

Tiling tiling_from_json(const base::Json& json) {
  static constexpr std::array<std::string_view, 5> kKeys = {"tile_m", "tile_n", "warps", "stages", "ctas_per_sm"};
  json.allow_keys(kKeys);
  return {.tile_m = tiling_member(json, "tile_m"),
          .tile_n = tiling_member(json, "tile_n"),
          .warps = tiling_member(json, "warps"),
          .stages = tiling_member(json, "stages"),
          .ctas_per_sm = tiling_member(json, "ctas_per_sm")};
}

base::Json tiling_to_json(const Tiling& tiling) {
  return base::Json::Object{{"tile_m", tiling.tile_m},
                            {"tile_n", tiling.tile_n},
                            {"warps", tiling.warps},
                            {"stages", tiling.stages},
                            {"ctas_per_sm", tiling.ctas_per_sm}};
}

TunedRow row_from_json(const base::Json& json) {
  static constexpr std::array<std::string_view, 6> kAlso = {"device",   "template_version", "tiling",
                                                            "measured", "microseconds",     "note"};
  TunedRow row;
  row.request = request_from_json(json, kAlso);
  row.device = json.at("device").as_string();
  row.version = static_cast<int>(json.at("template_version").as_int(0, std::numeric_limits<int>::max()));
  row.tiling = tiling_from_json(json.at("tiling"));
  row.measured = json.at("measured").as_bool();
  if (const auto* time = json.find("microseconds")) row.microseconds = time->as_double();
  if (const auto* note = json.find("note")) row.note = note->as_string();
  return row;
}

base::Json row_to_json(const TunedRow& row) {
  base::Json::Object json = to_json(row.request);
  json["device"] = row.device;
  json["template_version"] = row.version;
  json["tiling"] = tiling_to_json(row.tiling);
  json["measured"] = row.measured;
  if (row.measured) json["microseconds"] = row.microseconds;
  if (!row.note.empty()) json["note"] = row.note;
  return json;
}

std::string file_name(int capability) { return fmt::format("sm_{}.json", capability); }

}  // namespace

int template_version(KernelKind kind) {
  switch (kind) {
    case KernelKind::forward:
      return 3;
    case KernelKind::decode:
      return 2;
    case KernelKind::merge:
      return 1;
  }
  return 0;
}

TunedTable TunedTable::parse(std::string_view json, std::string_view origin) {
  static constexpr std::array<std::string_view, 2> kKeys = {"capability", "rows"};
  const auto root = base::Json::parse(json, origin);
  root.allow_keys(kKeys);
  TunedTable table;
  table.capability = static_cast<int>(root.at("capability").as_int(0, 9999));
  for (const auto& row : root.at("rows").as_array()) table.set(row_from_json(row));
  return table;
}

std::string TunedTable::dump() const {
  base::Json::Array rows;
  for (const auto& [key, row] : rows_) rows.push_back(row_to_json(row));
  return base::Json(base::Json::Object{{"capability", capability}, {"rows", std::move(rows)}}).dump() + "\n";
}

bool TunedTable::same_row(const KernelRequest& a, const KernelRequest& b) { return bucket(a) == bucket(b); }

std::optional<Tiling> TunedTable::find(const KernelRequest& request, const DeviceInfo& device) const {
  const auto found = rows_.find({device.name, bucket(request)});
  if (found == rows_.end() || found->second.version != template_version(request.kind)) return {};
  return found->second.tiling;
}

void TunedTable::set(const TunedRow& row) {
  TunedRow kept = row;
  kept.request = bucket(row.request);
  rows_.insert_or_assign({row.device, kept.request}, kept);
}

TunedTable builtin_tuned_table(int capability) {
  const auto name = file_name(capability);
  for (const auto& file : embedded::tuned_tables()) {
    if (file.name == name) return TunedTable::parse(file.text, name);
  }
  return {};
}

TunedTable tuned_table(const std::optional<std::filesystem::path>& folder, int capability) {
  if (!folder) return builtin_tuned_table(capability);
  const auto path = *folder / file_name(capability);
  if (!std::filesystem::exists(path)) return {};
  return TunedTable::parse(base::read_file(path), path.string());
}

}  // namespace kiln::plan
