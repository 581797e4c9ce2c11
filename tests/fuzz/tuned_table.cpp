// Tuned tables: writing what was read is a fixpoint.
#include "plan/tuned_table.hpp"

#include "fuzz/fuzz.hpp"

std::vector<std::string> kiln::fuzz::seeds() {
  std::vector<std::string> texts = {
      R"({"capability": 90, "rows": []})",
      R"({"capability": 80, "rows": [{"kind": "forward", "dtype": "bf16", "head_dim": 128, "causal": true,
          "device": "NVIDIA A100", "template_version": 1, "measured": false, "note": "reasoned",
          "tiling": {"tile_m": 128, "tile_n": 64, "warps": 4, "stages": 2, "ctas_per_sm": 1}}]})"};
  // Two rows of the table that is built in.
  const std::string built_in = plan::builtin_tuned_table(90).dump();
  const auto second = built_in.find("    {", built_in.find("    {") + 1);
  const auto third = built_in.find("    {", second + 1);
  if (third != std::string::npos) texts.push_back(built_in.substr(0, built_in.rfind(',', third)) + "\n  ]\n}\n");
  return texts;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kiln;
  plan::TunedTable table;
  if (!fuzz::accepts([&] { table = plan::TunedTable::parse(fuzz::as_text(data, size), "fuzz"); })) return 0;
  const std::string written = table.dump();
  fuzz::require(plan::TunedTable::parse(written, "fuzz").dump() == written, "dump(parse(x)) is a fixpoint");
  return 0;
}
