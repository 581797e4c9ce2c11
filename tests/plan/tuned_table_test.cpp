#include "plan/tuned_table.hpp"

#include "plan/device_info.hpp"
#include "plan/plan.hpp"
#include "support/expect_error.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kiln::plan {
namespace {

using test::error_of;
using testing::AllOf;
using testing::HasSubstr;

const std::string kRow = R"({
  "kind": "forward", "dtype": "bf16", "head_dim_qk": 128, "head_dim_v": 128, "causal": true,
  "alignment": "bottom_right", "window": "none", "device": "NVIDIA H200", "template_version": )" +
                         std::to_string(template_version(KernelKind::forward)) + R"(,
  "tiling": {"tile_m": 128, "tile_n": 64, "warps": 8, "stages": 2, "ctas_per_sm": 1},
  "measured": true, "microseconds": 12.5, "note": "batch 4, 4096 keys"})";

std::string table_of(std::string_view rows) { return fmt::format(R"({{"capability": 90, "rows": [{}]}})", rows); }

TEST(TunedTable, SurvivesARoundTrip) {
  const auto table = TunedTable::parse(table_of(kRow), "sm_90.json");
  const auto text = table.dump();
  EXPECT_EQ(TunedTable::parse(text, "again").dump(), text);
  EXPECT_THAT(text, AllOf(HasSubstr("batch 4, 4096 keys"), HasSubstr("12.5"), HasSubstr("\"capability\": 90")));
  const KernelRequest wanted{.kind = KernelKind::forward, .config = {.causal = true}};
  EXPECT_EQ(table.find(wanted, reference_device(90)), (Tiling{128, 64, 8, 2, 1}));
}

TEST(TunedTable, SetReplacesTheRowOfTheSameRequest) {
  auto table = TunedTable::parse(table_of(kRow), "sm_90.json");
  const KernelRequest wanted{.kind = KernelKind::forward, .config = {.causal = true}};
  table.set({.request = wanted,
             .device = "NVIDIA H200",
             .version = template_version(KernelKind::forward),
             .tiling = {64, 64, 4, 2, 2}});
  EXPECT_EQ(table.find(wanted, reference_device(90)), (Tiling{64, 64, 4, 2, 2}));
  EXPECT_THAT(table.dump(), Not(HasSubstr("12.5")));
}

TEST(TunedTable, PassesOverRowsOfAnotherTemplateVersion) {
  auto table = TunedTable::parse(table_of(kRow), "sm_90.json");
  const KernelRequest wanted{.kind = KernelKind::forward, .config = {.causal = true}};
  const int older = template_version(KernelKind::forward) - 1;
  table.set({.request = wanted, .device = "NVIDIA H200", .version = older, .tiling = {64, 64, 4, 2, 2}});
  EXPECT_EQ(table.find(wanted, reference_device(90)), std::nullopt);
}

struct Malformed {
  const char* name;
  std::string text;
  const char* says;
};

class MalformedTable : public testing::TestWithParam<Malformed> {};

TEST_P(MalformedTable, SaysWhere) {
  const auto& param = GetParam();
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { (void)TunedTable::parse(param.text, "sm_90.json"); }),
              AllOf(HasSubstr("sm_90.json"), HasSubstr(param.says)));
}

std::string with(std::string_view from, std::string_view to) {
  std::string row = kRow;
  row.replace(row.find(from), from.size(), to);
  return table_of(row);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, MalformedTable,
    testing::Values(Malformed{"NotJson", "{", ""}, Malformed{"NoRows", R"({"capability": 90})", "rows"},
                    Malformed{"RowsNotAnArray", R"({"capability": 90, "rows": 3})", "rows"},
                    Malformed{"UnknownKey", with("\"note\"", "\"notes\""), "notes"},
                    Malformed{"UnknownKind", with("forward", "sideways"), "sideways"},
                    Malformed{"TileOfZero", with("\"tile_n\": 64", "\"tile_n\": 0"), "tile_n"},
                    Malformed{"TileNotANumber", with("\"tile_n\": 64", "\"tile_n\": \"64\""), "tile_n"},
                    Malformed{"TilingMissing", with("\"tiling\"", "\"note2\""), "note2"},
                    Malformed{"HeadDimNegative", with("\"head_dim_v\": 128", "\"head_dim_v\": -1"), "head_dim_v"}),
    [](const auto& parameter) { return parameter.param.name; });

TEST(TunedTable, BuiltInTablesParseAndTheirTilingsExist) {
  for (const int capability : known_capabilities()) {
    const auto device = reference_device(capability);
    const auto table = builtin_tuned_table(capability);
    for (const auto kind : {KernelKind::forward, KernelKind::decode}) {
      for (const int head_dim : {64, 128}) {
        for (const bool causal : {false, true}) {
          KernelRequest wanted{.kind = kind,
                               .config = {.head_dim_qk = head_dim, .head_dim_v = head_dim, .causal = causal}};
          if (!has_type(capability, wanted.config.dtype)) wanted.config.dtype = DType::f16;
          EXPECT_NO_THROW((void)plan(wanted, device, table)) << capability;
        }
      }
    }
  }
}

}  // namespace
}  // namespace kiln::plan
